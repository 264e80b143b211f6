"""The distortions of one sample, written and read in the challenge's `augmentation` grammar."""

import re

from espnet_hybridse.simulation.distortions.bandwidth import BandwidthLimitation
from espnet_hybridse.simulation.distortions.clipping import Clipping
from espnet_hybridse.simulation.distortions.codec import Codec
from espnet_hybridse.simulation.distortions.packet_loss import PacketLoss
from espnet_hybridse.simulation.distortions.wind import WindNoise

Distortion = BandwidthLimitation | Clipping | Codec | PacketLoss | WindNoise

FURTHER_DISTORTIONS = ("bandwidth_limitation", "clipping", "codec", "packet_loss")
"""Those that come after noise (or wind) and reverberation."""

PATTERNS = {
    "bandwidth_limitation": r"bandwidth_limitation-(\w+)->(\d+)",
    "clipping": r"clipping\(min=(\S+),max=(\S+)\)",
    "codec": r"codec\(format=(\w+),encoder=(\w+),qscale=(-?\d+)\)",
    "packet_loss": r"packet_loss\(packet_loss_indices=\[(.*)\],packet_duration_ms=(\d+)\)",
    "wind_noise": (
        r"wind_noise\(threshold=(\S+),ratio=(\S+),attack=(\S+),release=(\S+),"
        r"sc_gain=(\S+),clipping=(True|False),clipping_threshold=(\S+)\)"
    ),
}


def name_of(text: str) -> str:
    """The distortion's name in one entry of the grammar."""
    return re.match(r"[a-z_]*", text).group()


def format_distortions(distortions: list[Distortion]) -> str:
    """Join distortions as `a/b/c`, or `none`."""
    return "/".join(map(str, distortions)) or "none"


def parse_distortions(text: str) -> list[Distortion]:
    """Read `a/b/c` or `none`.

    Raises:
        ValueError: an entry is unknown, malformed or out of its range.
    """
    return [parse_distortion(part) for part in text.split("/") if part not in ("", "none")]


def parse_distortion(text: str) -> Distortion:
    """Read one entry, such as `clipping(min=0.01,max=0.95)`."""
    name = name_of(text)
    match = re.fullmatch(PATTERNS.get(name, "(?!)"), text)
    if not match:
        raise ValueError(
            f"augmentation {text!r} is not understood; known: {', '.join(PATTERNS)}, "
            "written as in the challenge's meta.tsv"
        )
    values = match.groups()
    if name == "bandwidth_limitation":
        return BandwidthLimitation(values[0], int(values[1]))
    if name == "clipping":
        return Clipping(float(values[0]), float(values[1]))
    if name == "codec":
        return Codec(values[0], None if values[1] == "None" else values[1], int(values[2]))
    if name == "packet_loss":
        indices = tuple(int(index) for index in values[0].split(",") if index.strip())
        return PacketLoss(indices, int(values[1]))
    threshold, ratio, attack, release, sc_gain, clipping, limit = values
    numbers = map(float, (threshold, ratio, attack, release, sc_gain))
    return WindNoise(*numbers, clipping=clipping == "True", clipping_threshold=float(limit))
