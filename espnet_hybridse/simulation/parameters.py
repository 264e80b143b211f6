"""Step one of the simulation: every sample's parameters, one line of meta.tsv each.

Each sample draws from its own generator, seeded by (seed, index): any subset, order or number of
jobs gives the same samples. Columns up to `text` are those of the challenge, so its tools read
our file and ours read its.
"""

import logging
from collections import defaultdict
from math import gcd
from pathlib import Path

import numpy as np

from espnet_hybridse.audio import RATES
from espnet_hybridse.lists import ListError
from espnet_hybridse.simulation.bandwidth import BandwidthLimitation
from espnet_hybridse.simulation.clipping import Clipping
from espnet_hybridse.simulation.codec import Codec
from espnet_hybridse.simulation.config import SimulationConfig
from espnet_hybridse.simulation.distortions import (
    FURTHER_DISTORTIONS,
    Distortion,
    format_distortions,
)
from espnet_hybridse.simulation.meta import NO_TEXT, Sample
from espnet_hybridse.simulation.packet_loss import PacketLoss, draw_lost_packets
from espnet_hybridse.simulation.sources import Sources, SpeechPool, scan_speech, serves
from espnet_hybridse.simulation.wind import WindNoise

COVERED = ("noise", "reverberation", "wind_noise") + FURTHER_DISTORTIONS


def sample_parameters(
    sources: Sources,
    config: SimulationConfig,
    num: int,
    seed: int,
    out: str | Path = "dump",
    pool: SpeechPool | None = None,
) -> list[Sample]:
    """Draw `num` samples; their audio will lie in `out`/noisy and `out`/clean.

    Raises:
        ListError: a distortion with a probability above 0 has no sources, or no source can serve
            any of the wanted rates.
    """
    _check_sources(sources, config)
    pool = pool or scan_speech(sources, config)
    drawer = _Drawer(sources, config, pool, seed, Path(out))
    return [drawer.draw(index) for index in range(num)]


def _check_sources(sources: Sources, config: SimulationConfig) -> None:
    for name, table in (("wind", sources.wind), ("reverberation", sources.rir)):
        if getattr(config, name).probability > 0 and not table:
            file = "wind.scp" if name == "wind" else "rir.scp"
            raise ListError(
                f"{name}.probability is {getattr(config, name).probability} but there is no "
                f"{file}; prepare that list, or set the probability to 0"
            )


class _Drawer:
    """Draws one sample at a time; holds the tables that all of them share."""

    def __init__(
        self, sources: Sources, config: SimulationConfig, pool: SpeechPool, seed: int, out: Path
    ):
        self.sources, self.config, self.pool = sources, config, pool
        self.seed, self.out = seed, out
        self.by_rate: dict[int, list[str]] = defaultdict(list)
        for uid in pool.seconds:
            for fs in self.rates_of(sources.speech[uid][0]):
                self.by_rate[fs].append(uid)
        if not self.by_rate:
            raise ListError(
                f"no speech can serve {', '.join(map(str, sorted(config.rates)))} Hz; add lower "
                "rates to 'rates', or set allow_upsampling: true"
            )
        self.rates = sorted(self.by_rate)
        unserved = {fs for fs, weight in config.rates.items() if weight > 0} - set(self.rates)
        if unserved:
            logging.warning("no speech can serve %s Hz: left out", sorted(unserved))
        self.usable = sorted(set().union(*self.by_rate.values()))
        self.orders: dict[tuple[int, int], np.ndarray] = {}
        self.choices: dict[tuple[str, int], list[str]] = {}
        # A cycle whose length shares no factor with the rates meets every pair in time.
        self.cycle = list(COVERED)
        while gcd(len(self.cycle), len(self.rates)) > 1:
            self.cycle.append("")

    def rates_of(self, source_fs: int) -> list[int]:
        """Rates with a weight that a source at `source_fs` Hz may serve."""
        upsample = self.config.allow_upsampling
        return [
            fs
            for fs, weight in sorted(self.config.rates.items())
            if weight > 0 and (upsample or serves(source_fs, fs))
        ]

    def draw(self, index: int) -> Sample:
        config, sources = self.config, self.sources
        entropy = np.random.SeedSequence([self.seed, index])
        rng = np.random.default_rng(entropy)
        wanted = ""
        if config.coverage:
            fs = self.rates[index % len(self.rates)]
            wanted = self.cycle[index % len(self.cycle)]
            speech_uid = self._nth(self.by_rate[fs], fs, index // len(self.rates))
        else:
            speech_uid = self._nth(self.usable, 0, index)
            rates = self.rates_of(sources.speech[speech_uid][0])
            fs = int(_weighted({rate: config.rates[rate] for rate in rates}, rng))
        length = int(round(self.pool.seconds[speech_uid] * fs))
        wind = bool(sources.wind) and (
            rng.random() < config.wind.probability or wanted == "wind_noise"
        )
        wind = wind and wanted not in ("noise", "clipping")
        snr_db = rng.uniform(*(config.wind if wind else config.noise).snr_db)
        noise_uid = self._choose("wind" if wind else "noise", fs, rng)
        rir_uid = "none"
        if rng.random() < config.reverberation.probability or wanted == "reverberation":
            rir_uid = self._choose("rir", fs, rng)
        distortions: list[Distortion] = [self._draw_wind(rng)] if wind else []
        for name in self._draw_names(fs, wind, wanted, rng):
            distortions.append(self._draw_distortion(name, fs, length, rng))
        uid = f"{self.out.name}_{index:06d}"
        return Sample(
            id=uid,
            noisy_path=str(self.out / "noisy" / f"{uid}.flac"),
            speech_uid=speech_uid,
            speech_sid=sources.utt2spk[speech_uid],
            clean_path=str(self.out / "clean" / f"{uid}.flac"),
            noise_uid=noise_uid,
            snr_dB=float(snr_db),
            rir_uid=rir_uid,
            augmentation=format_distortions(distortions),
            fs=fs,
            length=length,
            text=" ".join(sources.text.get(speech_uid, NO_TEXT).split()),
            lang=sources.utt2lang.get(speech_uid, "unknown"),
            seed=int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)),
            highpass_hz=float(config.highpass_hz),
            early_ms=float(config.reverberation.early_ms),
        )

    def _nth(self, uids: list[str], stream: int, position: int) -> str:
        """Every uid once, in an order of its own, before any comes again."""
        epoch, place = divmod(position, len(uids))
        if (stream, epoch) not in self.orders:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, stream, epoch, 1]))
            self.orders[stream, epoch] = rng.permutation(len(uids))
        return uids[self.orders[stream, epoch][place]]

    def _choose(self, kind: str, fs: int, rng: np.random.Generator) -> str:
        """A source that holds the band of `fs` Hz.

        Where there is none, noise comes from the highest rate there is, but no room response:
        the target goes through it too and would lose the band above.
        """
        table = getattr(self.sources, kind)
        if (kind, fs) not in self.choices:
            uids = sorted(uid for uid, (source_fs, _) in table.items() if serves(source_fs, fs))
            if not uids and (kind != "rir" or self.config.allow_upsampling):
                highest = max(source_fs for source_fs, _ in table.values())
                uids = sorted(uid for uid in table if table[uid][0] == highest)
            self.choices[kind, fs] = uids
        uids = self.choices[kind, fs]
        return uids[rng.integers(len(uids))] if uids else "none"

    def _draw_wind(self, rng: np.random.Generator) -> WindNoise:
        wind = self.config.wind
        return WindNoise(
            threshold=float(rng.uniform(*wind.threshold)),
            ratio=float(rng.uniform(*wind.ratio)),
            attack=float(rng.uniform(*wind.attack_ms)),
            release=float(rng.uniform(*wind.release_ms)),
            sc_gain=float(rng.uniform(*wind.sc_gain)),
            clipping=bool(rng.random() < wind.clipping_probability),
            clipping_threshold=float(rng.uniform(*wind.clipping_threshold)),
        )

    def _draw_names(self, fs: int, wind: bool, wanted: str, rng: np.random.Generator) -> list[str]:
        """Names of the further distortions, `wanted` among them, in the order they come."""
        weights = {name: getattr(self.config, name).weight for name in FURTHER_DISTORTIONS}
        if wind:  # wind brings a clipping of its own
            weights["clipping"] = 0.0
        if fs == RATES[0]:  # nothing lies below 8 kHz
            weights["bandwidth_limitation"] = 0.0
        count = int(_weighted(self.config.num_distortions, rng))
        names = []
        if wanted in FURTHER_DISTORTIONS and weights[wanted] > 0:
            names.append(wanted)
            weights[wanted] = 0.0
        while len(names) < count and any(weight > 0 for weight in weights.values()):
            names.append(_weighted(weights, rng))
            weights[names[-1]] = 0.0
        return [names[place] for place in rng.permutation(len(names))]

    def _draw_distortion(
        self, name: str, fs: int, length: int, rng: np.random.Generator
    ) -> Distortion:
        own = getattr(self.config, name)
        if name == "bandwidth_limitation":
            res_type = own.resamplers[rng.integers(len(own.resamplers))]
            return BandwidthLimitation(res_type, int(rng.choice([r for r in RATES if r < fs])))
        if name == "clipping":
            return Clipping(
                float(rng.uniform(*own.min_quantile)), float(rng.uniform(*own.max_quantile))
            )
        if name == "codec":
            if rng.random() < 0.5:
                return Codec("mp3", None, int(rng.integers(*map(int, own.mp3_qscale))))
            encoder = own.ogg_encoders[rng.integers(len(own.ogg_encoders))]
            return Codec("ogg", encoder, int(rng.integers(*map(int, own.ogg_qscale))))
        packets = length * 1000 // fs // own.packet_ms
        loss_rate = float(rng.uniform(*own.loss_rate))
        lost = draw_lost_packets(packets, loss_rate, own.max_consecutive, rng)
        return PacketLoss(lost, own.packet_ms)


def _weighted(weights: dict, rng: np.random.Generator):
    """One key of {key: weight}."""
    keys = list(weights)
    shares = np.array([weights[key] for key in keys], dtype=np.float64)
    return keys[rng.choice(len(keys), p=shares / shares.sum())]
