"""RNNoise (Valin, 2018) through its own C library."""

import ctypes
from functools import cached_property

import numpy as np

from espnet_hybridse.fileio.assets import package_dir
from espnet_hybridse.peers.peer import Peer, blocks

FLOATS = ctypes.POINTER(ctypes.c_float)
FULL_SCALE = 32768.0


class RnNoise(Peer):
    """RNNoise at 48 kHz; samples are scaled as 16-bit numbers, which it was trained on.

    Only the library is taken from the package, whose Python code needs more packages. Delay: half
    of its 20-ms window and a look-ahead of one frame.
    """

    key, name = "rnnoise", "RNNoise"
    fs = 48000
    delay = 2 * 480
    source = "RNNoise, pyrnnoise 0.4.5"
    module = "pyrnnoise"
    install = "pip install --no-deps pyrnnoise==0.4.5"

    @cached_property
    def library(self):
        folder = package_dir(self.module, self.install)
        file = next(folder.glob("*rnnoise.so"), None) or next(folder.glob("*rnnoise.dylib"))
        library = ctypes.CDLL(str(file))
        library.rnnoise_create.restype = ctypes.c_void_p
        library.rnnoise_create.argtypes = [ctypes.c_void_p]
        library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
        library.rnnoise_get_frame_size.restype = ctypes.c_int
        library.rnnoise_process_frame.restype = ctypes.c_float
        library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, FLOATS, FLOATS]
        return library

    def enhance(self, wav, fs):
        size = self.library.rnnoise_get_frame_size()
        frames = np.ascontiguousarray(blocks(wav * FULL_SCALE, size), dtype=np.float32)
        out = np.zeros_like(frames)
        state = self.library.rnnoise_create(None)
        try:
            for mine, theirs in zip(frames, out, strict=True):
                self.library.rnnoise_process_frame(
                    state, theirs.ctypes.data_as(FLOATS), mine.ctypes.data_as(FLOATS)
                )
        finally:
            self.library.rnnoise_destroy(state)
        return out.reshape(-1)[: wav.size] / FULL_SCALE
