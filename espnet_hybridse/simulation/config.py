"""simulation.yaml as dataclasses that refuse nonsense when they are built."""

import dataclasses
import logging
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from espnet_hybridse.fileio.audio import RATES, check_rate
from espnet_hybridse.fileio.yaml_config import ConfigError, nearest, read_yaml
from espnet_hybridse.simulation.distortions.bandwidth import RESAMPLERS

Range = tuple[float, float]

DEFAULT = Path("conf/simulation.yaml")
NATIVE = "native"
"""Of `rates`: every source keeps its own, as in the challenge."""
CHALLENGE_MIX_GAIN = 0.5
"""What ffmpeg's amix makes of both its inputs, and the challenge of its wind."""


def _check_range(name: str, value: Range, low: float, high: float) -> None:
    if not (len(value) == 2 and low <= value[0] <= value[1] <= high):
        raise ConfigError(f"{name}: {list(value)}; accepted: [from, to] within {low} to {high}")


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}: {value}; accepted: 0 to 1")


@dataclass(frozen=True)
class NoiseConfig:
    """Additive noise; SNR in dB over the parts that are not silent."""

    snr_db: Range = (-5.0, 20.0)

    def __post_init__(self):
        _check_range("noise.snr_db", self.snr_db, -60, 100)


@dataclass(frozen=True)
class WindConfig:
    """Wind in place of noise; attack and release in ms.

    mix_gain: of the mixture, speech and wind alike, but not of the target; CHALLENGE_MIX_GAIN as
        in the challenge's scripts
    """

    probability: float = 0.05
    snr_db: Range = (-10.0, 15.0)
    threshold: Range = (0.1, 0.3)
    ratio: Range = (1.0, 20.0)
    attack_ms: Range = (5.0, 100.0)
    release_ms: Range = (5.0, 100.0)
    sc_gain: Range = (0.8, 1.2)
    clipping_probability: float = 0.75
    clipping_threshold: Range = (0.85, 1.0)
    mix_gain: float = 1.0

    def __post_init__(self):
        _check_range("wind.mix_gain", (self.mix_gain, self.mix_gain), 0.01, 1)
        _check_probability("wind.probability", self.probability)
        _check_probability("wind.clipping_probability", self.clipping_probability)
        _check_range("wind.snr_db", self.snr_db, -60, 100)
        _check_range("wind.threshold", self.threshold, 1e-3, 1)
        _check_range("wind.ratio", self.ratio, 1, 100)
        _check_range("wind.attack_ms", self.attack_ms, 0.1, 2000)
        _check_range("wind.release_ms", self.release_ms, 0.1, 9000)
        _check_range("wind.sc_gain", self.sc_gain, 0.01, 64)
        _check_range("wind.clipping_threshold", self.clipping_threshold, 0.01, 1)


@dataclass(frozen=True)
class ReverberationConfig:
    """Room responses; the target keeps `early_ms` after the direct path, of 0 the dry speech."""

    probability: float = 0.5
    early_ms: float = 50.0

    def __post_init__(self):
        _check_probability("reverberation.probability", self.probability)
        _check_range("reverberation.early_ms", (self.early_ms, self.early_ms), 0, 1000)


@dataclass(frozen=True)
class BandwidthConfig:
    """Bandwidth limitation to a lower rate of the seven."""

    weight: float = 1.0
    resamplers: tuple[str, ...] = RESAMPLERS

    def __post_init__(self):
        unknown = set(self.resamplers) - set(RESAMPLERS)
        if unknown or not self.resamplers:
            raise ConfigError(
                f"bandwidth_limitation.resamplers: {list(self.resamplers)}; "
                f"accepted: some of {', '.join(RESAMPLERS)}"
            )


@dataclass(frozen=True)
class ClippingConfig:
    """Clipping at two quantiles."""

    weight: float = 1.0
    min_quantile: Range = (0.0, 0.1)
    max_quantile: Range = (0.9, 1.0)

    def __post_init__(self):
        _check_range("clipping.min_quantile", self.min_quantile, 0, 0.5)
        _check_range("clipping.max_quantile", self.max_quantile, 0.5, 1)
        if self.min_quantile[1] >= self.max_quantile[0]:
            raise ConfigError(
                f"clipping: min_quantile {list(self.min_quantile)} must stay below "
                f"max_quantile {list(self.max_quantile)}"
            )


@dataclass(frozen=True)
class CodecConfig:
    """mp3 or ogg with even odds; qualities are integers, the upper end not drawn (as upstream)."""

    weight: float = 1.0
    mp3_qscale: Range = (1, 10)
    ogg_qscale: Range = (-1, 10)
    ogg_encoders: tuple[str, ...] = ("vorbis", "opus")

    def __post_init__(self):
        _check_range("codec.mp3_qscale", self.mp3_qscale, 0, 10)
        _check_range("codec.ogg_qscale", self.ogg_qscale, -1, 11)
        for name, (low, high) in (("mp3", self.mp3_qscale), ("ogg", self.ogg_qscale)):
            if not (low < high and float(low).is_integer() and float(high).is_integer()):
                raise ConfigError(f"codec.{name}_qscale: [{low}, {high}]; two rising integers")
        unknown = set(self.ogg_encoders) - {"vorbis", "opus"}
        if unknown or not self.ogg_encoders:
            raise ConfigError(
                f"codec.ogg_encoders: {list(self.ogg_encoders)}; accepted: vorbis, opus"
            )


@dataclass(frozen=True)
class PacketLossConfig:
    """Lost packets, at most `max_consecutive` in a row."""

    weight: float = 1.0
    packet_ms: int = 20
    loss_rate: Range = (0.05, 0.25)
    max_consecutive: int = 10

    def __post_init__(self):
        _check_range("packet_loss.loss_rate", self.loss_rate, 0, 0.9)
        if self.packet_ms < 1 or self.max_consecutive < 1:
            raise ConfigError(
                f"packet_loss: packet_ms={self.packet_ms}, max_consecutive="
                f"{self.max_consecutive}; both must be 1 or more"
            )


@dataclass(frozen=True)
class SimulationConfig:
    """Everything that is drawn for a set.

    rates: weight of each target rate in Hz, among those a source can serve; NATIVE gives each
        source its own, or of another than the seven the next below it
    allow_upsampling: let a source serve rates above its own (44.1 kHz always serves 48 kHz)
    coverage: cycle through rates and distortions instead of drawing them, for test sets
    min_seconds, max_seconds: speech outside these durations is left out
    highpass_hz: corner of the zero-phase high-pass on speech, 0 for none
    speed: factors between which the speed of the clean speech is drawn, pitch and formants with it,
        as Kaldi's speed perturbation: further voices; None leaves it
    num_distortions: probability of each number of further distortions
    level_db: RMS of the target over the parts that are not silent, in dB re full scale, as far as
        the peaks allow; None: as loud as they allow
    clean_probability: share of samples without any distortion, the target itself
    noise_only_probability: share of samples of noise alone, whose target is silence; neither
        share is drawn for sets with coverage
    """

    rates: dict[int, float] | Literal["native"] = field(
        default_factory=lambda: dict.fromkeys(RATES, 1.0)
    )
    allow_upsampling: bool = False
    coverage: bool = False
    min_seconds: float = 0.5
    max_seconds: float = 30.0
    highpass_hz: float = 70.0
    speed: Range | None = None
    level_db: Range | None = None
    clean_probability: float = 0.0
    noise_only_probability: float = 0.0
    noise: NoiseConfig = NoiseConfig()
    wind: WindConfig = WindConfig()
    reverberation: ReverberationConfig = ReverberationConfig()
    num_distortions: dict[int, float] = field(
        default_factory=lambda: {0: 0.25, 1: 0.40, 2: 0.20, 3: 0.15}
    )
    bandwidth_limitation: BandwidthConfig = BandwidthConfig()
    clipping: ClippingConfig = ClippingConfig()
    codec: CodecConfig = CodecConfig()
    packet_loss: PacketLossConfig = PacketLossConfig()

    def __post_init__(self):
        for fs in self.rates if self.rates != NATIVE else ():
            check_rate(fs)
        for name in ("rates", "num_distortions"):
            weights = getattr(self, name)
            if weights == NATIVE:
                continue
            if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
                raise ConfigError(f"{name}: {weights}; weights must be >= 0 with a positive sum")
        if not set(self.num_distortions) <= {0, 1, 2, 3, 4}:
            raise ConfigError(f"num_distortions: {self.num_distortions}; counts are 0 to 4")
        for name in ("bandwidth_limitation", "clipping", "codec", "packet_loss"):
            if getattr(self, name).weight < 0:
                raise ConfigError(f"{name}.weight: {getattr(self, name).weight}; must be >= 0")
        if not 0.1 <= self.min_seconds < self.max_seconds:
            raise ConfigError(
                f"min_seconds={self.min_seconds}, max_seconds={self.max_seconds}; "
                "accepted: 0.1 <= min_seconds < max_seconds"
            )
        if self.speed is not None:
            _check_range("speed", self.speed, 0.5, 2)
        if self.level_db is not None:
            _check_range("level_db", self.level_db, -60, 0)
        for name in ("clean_probability", "noise_only_probability"):
            _check_probability(name, getattr(self, name))
        if self.clean_probability + self.noise_only_probability > 1:
            raise ConfigError(
                f"clean_probability={self.clean_probability}, noise_only_probability="
                f"{self.noise_only_probability}: together at most 1"
            )
        if not 0 <= self.highpass_hz <= 1000:
            raise ConfigError(f"highpass_hz: {self.highpass_hz}; accepted: 0 (off) to 1000 Hz")


def load_config(path: str | Path | None = None) -> SimulationConfig:
    """Read simulation.yaml; keys that are left out keep the challenge's values.

    Args:
        path: None takes conf/simulation.yaml, or the challenge's values where there is none.
    """
    if path is None and not DEFAULT.is_file():
        logging.info("no %s here: the challenge's values are taken", DEFAULT)
        return SimulationConfig()
    path = Path(path or DEFAULT)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such config; leave it out for {DEFAULT} or the challenge's values"
        )
    values = read_yaml(path, may_be_empty=True)
    try:
        return config_from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def config_from_dict(values: dict[str, Any]) -> SimulationConfig:
    """Build the config from nested dicts; raises ConfigError naming the key and the nearest."""
    return _build(SimulationConfig, values, "")


def _build(cls: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        name = prefix.rstrip(".") or "simulation.yaml"
        raise ConfigError(f"{name}: expected keys and values, got {values!r}")
    fields = {spec.name: spec for spec in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(
                f"unknown key '{prefix}{key}'; did you mean '{prefix}{nearest(key, fields, 0.0)}'? "
                f"Known: {', '.join(fields)}"
            )
        arguments[key] = _convert(fields[key].type, value, f"{prefix}{key}")
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigError(f"{prefix or 'simulation.yaml'}: {error}") from error


def _convert(kind: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, f"{name}.")
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{name}: {value!r}; accepted: true or false")
        return value
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{name}: {value!r}; expected a number")
        return kind(value)
    words = [word for part in typing.get_args(kind) for word in typing.get_args(part)]
    if isinstance(value, str) and value in words:
        return value
    if dict in (typing.get_origin(kind), *map(typing.get_origin, typing.get_args(kind))):
        if not isinstance(value, dict):
            texts = "".join(f", or {word}" for word in words if isinstance(word, str))
            raise ConfigError(f"{name}: {value!r}; expected weights, such as {{16000: 1.0}}{texts}")
        for weight in value.values():
            _convert(float, weight, name)
        return value
    if value is None and type(None) in typing.get_args(kind):
        return None
    if not isinstance(value, list):
        raise ConfigError(f"{name}: {value!r}; expected a list, such as [from, to]")
    return tuple(value)
