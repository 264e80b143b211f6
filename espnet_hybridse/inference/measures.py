"""Cheap measures of a recording, from one reading: noise, band, clipping, gaps, rooms, speech.

They say how much there is to enhance (:mod:`espnet_hybridse.inference.gate`) and are written into
the record of a file. All of them are our own, simple on purpose: no network, one transform a frame.
"""

from dataclasses import asdict, dataclass

import numpy as np

HOP_S = 0.02
"""Frames have twice this length."""
LOWEST_HZ = 60.0
PITCH_HZ = (70.0, 400.0)
"""Where voices are looked for."""
VOICED = 0.5
"""Periodicity, of 1, from which on a frame counts as voiced."""
ACTIVE_DB = 20.0
"""Frames that are less below the loud ones are active."""
BANDS = 20
BAND_EDGES_HZ = (100.0, 12000.0)
LEVELS_DB = np.arange(-160.0, 61.0)
"""Bins of the histograms of levels."""
FLAT_RUN = 3
"""Equal samples in a row at the peak, from which on it is flat."""
GAP_S = 0.005
"""Digital silence from this length on is a lost packet if speech stops in it all at once."""
GAP_ENDS_S = 0.2
"""Longer ones are pauses."""
DROP_DB = 50.0
"""How far the spectrum above the band edge lies below its top."""
DECAY_S = 0.1
"""Over which the fall of the level is measured."""
MAX_T60 = 3.0


@dataclass(frozen=True)
class Measures:
    """What one reading tells.

    Attributes:
        seconds: of the recording.
        peak: largest magnitude.
        offset: mean, of the channel where it is largest.
        level_db: of the loud frames, re full scale.
        floor_db: of the quiet ones.
        snr_db: of loud to quiet, averaged over the bands that hold the speech; at most 100.
        band_edge_hz: highest frequency with speech in it.
        flat_share: share of samples in flat tops at the peak.
        gaps: stretches of digital silence in which speech stops all at once.
        t60_s: reverberation time.
        voiced_share: share of voiced frames among the active ones.
        speech_s: seconds with speech.
    """

    seconds: float
    peak: float
    offset: float
    level_db: float
    floor_db: float
    snr_db: float
    band_edge_hz: float
    flat_share: float
    gaps: int
    t60_s: float
    voiced_share: float
    speech_s: float

    def as_dict(self) -> dict[str, float]:
        """Rounded, for the record."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}


class Gauge:
    """Takes a recording block by block, in constant memory but for 25 bytes a frame.

    Args:
        fs: rate in Hz.
        channels: of the recording; spectra are those of their average, or of the first one where
            that cancels out.
    """
