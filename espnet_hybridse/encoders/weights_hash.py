"""The identity of a network: a hash of its weights."""

import hashlib

import torch


def weights_sha256(module: torch.nn.Module) -> str:
    """sha256 over a module's weights, whatever their names, order or file format.

    Names are left out because libraries rename weights between releases while the numbers, and so
    the tokens, stay the same. The mask vector of pre-training is left out because some checkpoints
    lack it and it is then drawn at random; it is never used here.
    """
    digests = sorted(
        hashlib.sha256(tensor.float().cpu().contiguous().numpy()).digest()
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point() and not name.endswith("masked_spec_embed")
    )
    return hashlib.sha256(b"".join(digests)).hexdigest()
