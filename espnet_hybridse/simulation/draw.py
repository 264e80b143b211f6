"""Random draw of one utterance's distortions: noise or wind, room, and further ones."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.simulation.config import Range, SimulationConfig
from espnet_hybridse.simulation.distortions.bandwidth import BandwidthLimitation
from espnet_hybridse.simulation.distortions.clipping import Clipping
from espnet_hybridse.simulation.distortions.codec import Codec
from espnet_hybridse.simulation.distortions.grammar import FURTHER_DISTORTIONS, Distortion
from espnet_hybridse.simulation.distortions.packet_loss import PacketLoss, draw_lost_packets
from espnet_hybridse.simulation.distortions.wind import WindNoise
from espnet_hybridse.simulation.meta import CLEAN_SNR_DB, NOISE_ONLY_SNR_DB
from espnet_hybridse.simulation.sources import Sources, serves


@dataclass(frozen=True)
class Drawn:
    """The distortions of one utterance; `none` where there is no room response.

    snr_db, level_db, wind_mix_gain: see :class:`espnet_hybridse.simulation.meta.Sample`.
    """

    noise_uid: str
    snr_db: float
    rir_uid: str
    distortions: list[Distortion]
    level_db: float = 0.0
    wind_mix_gain: float = 1.0


class DistortionDrawer:
    """Draws from a generator that the caller seeds; holds the tables that all draws share.

    Raises:
        ListError: a distortion with a probability above 0 has no sources.
    """

    def __init__(self, sources: Sources, config: SimulationConfig):
        for name, table in (("wind", sources.wind), ("reverberation", sources.rir)):
            if getattr(config, name).probability > 0 and not table:
                file = "wind.scp" if name == "wind" else "rir.scp"
                raise ListError(
                    f"{name}.probability is {getattr(config, name).probability} but there is no "
                    f"{file}; prepare that list, or set the probability to 0"
                )
        self.sources, self.config = sources, config
        self.choices: dict[tuple[str, int], list[str]] = {}
        self.weights = [getattr(config, name).weight for name in FURTHER_DISTORTIONS]
        self.lower = {fs: [rate for rate in RATES if rate < fs] for fs in RATES}

    def draw(self, rng: np.random.Generator, fs: int, length: int, wanted: str = "") -> Drawn:
        """Distortions for (length,) samples at `fs` Hz; `wanted` names one that must be there."""
        config, sources = self.config, self.sources
        # No number is drawn for what is switched off: sets of older configs stay as they were.
        level_db = 0.0 if config.level_db is None else _between(config.level_db, rng)
        plain_snr_db = self._draw_plain(rng)
        if plain_snr_db and not config.coverage:
            return Drawn(self._choose("noise", fs, rng), plain_snr_db, "none", [], level_db)
        wind = bool(sources.wind) and (
            rng.random() < config.wind.probability or wanted == "wind_noise"
        )
        wind = wind and wanted not in ("noise", "clipping")
        snr_db = _between((config.wind if wind else config.noise).snr_db, rng)
        noise_uid = self._choose("wind" if wind else "noise", fs, rng)
        rir_uid = "none"
        if rng.random() < config.reverberation.probability or wanted == "reverberation":
            rir_uid = self._choose("rir", fs, rng)
        distortions: list[Distortion] = [self._draw_wind(rng)] if wind else []
        for name in self._draw_names(fs, wind, wanted, rng):
            distortions.append(self._draw_distortion(name, fs, length, rng))
        gain = config.wind.mix_gain
        return Drawn(noise_uid, snr_db, rir_uid, distortions, level_db, gain)

    def _draw_plain(self, rng: np.random.Generator) -> float:
        """The SNR that stands for clean speech or for noise alone; 0 for neither."""
        clean, noise_only = self.config.clean_probability, self.config.noise_only_probability
        if not clean + noise_only:
            return 0.0
        place = rng.random()
        if place < clean:
            return CLEAN_SNR_DB
        return NOISE_ONLY_SNR_DB if place < clean + noise_only else 0.0

    def _choose(self, kind: str, fs: int, rng: np.random.Generator) -> str:
        """A source that holds the band of `fs` Hz.

        Where there is none, noise comes from the highest rate there is, but no room response:
        the target goes through it too and would lose the band above.
        """
        if (kind, fs) not in self.choices:
            table = getattr(self.sources, kind)
            uids = sorted(uid for uid, (source_fs, _) in table.items() if serves(source_fs, fs))
            if not uids and table and (kind != "rir" or self.config.allow_upsampling):
                highest = max(source_fs for source_fs, _ in table.values())
                uids = sorted(uid for uid in table if table[uid][0] == highest)
            self.choices[kind, fs] = uids
        uids = self.choices[kind, fs]
        return uids[rng.integers(len(uids))] if uids else "none"

    def _draw_wind(self, rng: np.random.Generator) -> WindNoise:
        wind = self.config.wind
        return WindNoise(
            threshold=_between(wind.threshold, rng),
            ratio=_between(wind.ratio, rng),
            attack=_between(wind.attack_ms, rng),
            release=_between(wind.release_ms, rng),
            sc_gain=_between(wind.sc_gain, rng),
            clipping=bool(rng.random() < wind.clipping_probability),
            clipping_threshold=_between(wind.clipping_threshold, rng),
        )

    def _draw_names(self, fs: int, wind: bool, wanted: str, rng: np.random.Generator) -> list[str]:
        """Names of the further distortions, `wanted` among them, in the order they come."""
        weights = list(self.weights)
        if wind:  # wind brings a clipping of its own
            weights[FURTHER_DISTORTIONS.index("clipping")] = 0.0
        if fs == RATES[0]:  # nothing lies below 8 kHz
            weights[FURTHER_DISTORTIONS.index("bandwidth_limitation")] = 0.0
        counts = self.config.num_distortions
        count = weighted(tuple(counts), tuple(counts.values()), rng)
        names = []
        if wanted in FURTHER_DISTORTIONS and weights[FURTHER_DISTORTIONS.index(wanted)] > 0:
            names.append(wanted)
            weights[FURTHER_DISTORTIONS.index(wanted)] = 0.0
        while len(names) < count and any(weights):
            names.append(weighted(FURTHER_DISTORTIONS, tuple(weights), rng))
            weights[FURTHER_DISTORTIONS.index(names[-1])] = 0.0
        return names if len(names) < 2 else [names[i] for i in rng.permutation(len(names))]

    def _draw_distortion(
        self, name: str, fs: int, length: int, rng: np.random.Generator
    ) -> Distortion:
        own = getattr(self.config, name)
        if name == "bandwidth_limitation":
            res_type = own.resamplers[rng.integers(len(own.resamplers))]
            return BandwidthLimitation(res_type, self.lower[fs][rng.integers(len(self.lower[fs]))])
        if name == "clipping":
            return Clipping(_between(own.min_quantile, rng), _between(own.max_quantile, rng))
        if name == "codec":
            if rng.random() < 0.5:
                return Codec("mp3", None, int(rng.integers(*map(int, own.mp3_qscale))))
            encoder = own.ogg_encoders[rng.integers(len(own.ogg_encoders))]
            return Codec("ogg", encoder, int(rng.integers(*map(int, own.ogg_qscale))))
        packets = length * 1000 // fs // own.packet_ms
        lost = draw_lost_packets(packets, _between(own.loss_rate, rng), own.max_consecutive, rng)
        return PacketLoss(lost, own.packet_ms)


def weighted(keys: Sequence, weights: tuple[float, ...], rng: np.random.Generator):
    """One of `keys`, each as likely as its weight says; as `Generator.choice` draws it."""
    return keys[bisect_right(_cumulative(weights), rng.random())]


@lru_cache(maxsize=1024)
def _cumulative(weights: tuple[float, ...]) -> list[float]:
    shares = np.array(weights, dtype=np.float64)
    cumulative = (shares / shares.sum()).cumsum()
    return (cumulative / cumulative[-1]).tolist()


def _between(limits: Range, rng: np.random.Generator) -> float:
    """Uniform between two limits; as `Generator.uniform`, at a fourth of its cost."""
    low, high = limits
    return low + (high - low) * rng.random()
