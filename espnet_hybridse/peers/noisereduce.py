"""noisereduce (Sainburg et al., 2020): spectral gating, no training."""

from espnet_hybridse.peers.peer import Peer


class NoiseReduce(Peer):
    """noisereduce's non-stationary gate at its defaults, at the file's own rate."""

    key, name = "noisereduce", "noisereduce"
    fs = None
    source = "noisereduce 3.0.3, non-stationary"
    module = "noisereduce"
    install = "pip install noisereduce==3.0.3"

    def enhance(self, wav, fs):
        import noisereduce

        return noisereduce.reduce_noise(wav, fs)
