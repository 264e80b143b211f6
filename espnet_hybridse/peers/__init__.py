"""Published enhancement systems that packages carry, to stand beside ours in the same table."""

from espnet_hybridse.peers.deepfilternet import DeepFilterNet
from espnet_hybridse.peers.dtln import Dtln
from espnet_hybridse.peers.gtcrn import Gtcrn
from espnet_hybridse.peers.noisereduce import NoiseReduce
from espnet_hybridse.peers.peer import Peer
from espnet_hybridse.peers.rnnoise import RnNoise

PEERS: dict[str, Peer] = {
    peer.key: peer for peer in (DeepFilterNet(), Gtcrn(), Dtln(), RnNoise(), NoiseReduce())
}
"""Word for --peer -> system. An instance is cheap: it loads its model at its first file."""

__all__ = ["PEERS", "Peer"]
