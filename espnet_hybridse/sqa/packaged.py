"""Two published quality networks that need no download, as one for the SQA loss."""

import torch
from torch import Tensor, nn

from espnet_hybridse.fileio.assets import dnsmos_model
from espnet_hybridse.sqa.dnsmos import DnsmosP835
from espnet_hybridse.sqa.dnsmos_pro import DnsmosPro, weights

BEST, WORST = 5.0, 1.0


class DnsmosHeads(nn.Module):
    """DNSMOS P.835 and DNSMOS Pro: two architectures, front ends and training sets.

    What fools one of them seldom fools the other, so that their mean is a safer loss than either.

    Raises:
        AssetMissing: speechmos, which carries the weights of DNSMOS P.835, is not installed.
    """

    def __init__(self):
        super().__init__()
        self.networks = nn.ModuleList([DnsmosP835(dnsmos_model()), DnsmosPro(weights())])
        self.heads = tuple(column for network in self.networks for column in network.columns)
        # Both networks count alike, however many heads they have.
        shares = [[1 / len(n.columns) / len(self.networks)] * len(n.columns) for n in self.networks]
        self.register_buffer("shares", torch.tensor(sum(shares, [])))

    def forward(self, wav: Tensor) -> Tensor:
        """Waveforms of one length (B, T) at 16 kHz -> opinion scores (B, heads)."""
        return torch.cat([network(wav) for network in self.networks], dim=1)

    def quality(self, scores: Tensor) -> Tensor:
        """Scores (B, heads) -> share of the range 1 to 5 that is reached (B, heads)."""
        return (scores - WORST) / (BEST - WORST)
