"""Step one of the simulation: every sample's parameters, one line of meta.tsv each.

Each sample draws from its own generator, seeded by (seed, index): any subset, order or number of
jobs gives the same samples. Columns up to `text` are those of the challenge, so its tools read
our file and ours read its.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from math import gcd
from pathlib import Path

import numpy as np

from espnet_hybridse.fileio.audio import RATES
from espnet_hybridse.fileio.lists import ListError
from espnet_hybridse.simulation.config import NATIVE, SimulationConfig
from espnet_hybridse.simulation.distortions.grammar import FURTHER_DISTORTIONS, format_distortions
from espnet_hybridse.simulation.draw import DistortionDrawer, weighted
from espnet_hybridse.simulation.meta import NO_TEXT, Sample
from espnet_hybridse.simulation.sources import Sources, SpeechPool, scan_speech, serves

COVERED = ("noise", "reverberation", "wind_noise") + FURTHER_DISTORTIONS
FOLDER_SIZE = 5000
"""Files in one folder; as in the challenge's sets, more go to numbered folders below it."""


MAX_SEED = 2**32 - 1


def sample_parameters(
    sources: Sources,
    config: SimulationConfig,
    num: int,
    seed: int,
    out: str | Path = "dump",
    pool: SpeechPool | None = None,
    suffix: str = ".flac",
) -> Iterator[Sample]:
    """Draw `num` samples, one at a time; their audio will lie in `out`/noisy and `out`/clean.

    Raises:
        ListError: before the first sample: a distortion with a probability above 0 has no
            sources, or no source can serve any of the wanted rates.
    """
    pool = pool or scan_speech(sources, config)
    return _RowDrawer(sources, config, pool, seed, Path(out), suffix).rows(num)


def audio_path(out: Path, kind: str, index: int, uid: str, suffix: str) -> str:
    """Path of a sample's noisy or clean file."""
    folder = f"/{index // FOLDER_SIZE}" if index >= FOLDER_SIZE else ""
    return f"{out}/{kind}{folder}/{uid}{suffix}"


class _RowDrawer:
    """Draws one sample at a time: speech and rate here, the rest in DistortionDrawer."""

    def __init__(
        self,
        sources: Sources,
        config: SimulationConfig,
        pool: SpeechPool,
        seed: int,
        out: Path,
        suffix: str,
    ):
        self.distortions = DistortionDrawer(sources, config)
        self.sources, self.config, self.pool = sources, config, pool
        self.seed, self.out, self.suffix = seed, out, suffix
        self.served = {
            source_fs: self._rates_of(source_fs)
            for source_fs in {sources.speech[uid][0] for uid in pool.seconds}
        }
        self.by_rate: dict[int, list[str]] = defaultdict(list)
        for uid in pool.seconds:
            for fs in self.served[sources.speech[uid][0]][0]:
                self.by_rate[fs].append(uid)
        if not self.by_rate:
            wanted = RATES if config.rates == NATIVE else sorted(config.rates)
            raise ListError(
                f"no speech can serve {', '.join(map(str, wanted))} Hz; add lower "
                "rates to 'rates', or set allow_upsampling: true"
            )
        self.rates = sorted(self.by_rate)
        weights = {} if config.rates == NATIVE else config.rates
        unserved = {fs for fs, weight in weights.items() if weight > 0} - set(self.rates)
        if unserved:
            logging.warning("no speech can serve %s Hz: left out", sorted(unserved))
        self.usable = sorted(set().union(*self.by_rate.values()))
        self.orders: dict[int, tuple[int, np.ndarray]] = {}
        # A cycle whose length shares no factor with the rates meets every pair in time.
        self.cycle = list(COVERED)
        while gcd(len(self.cycle), len(self.rates)) > 1:
            self.cycle.append("")

    def _rates_of(self, source_fs: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Rates with a weight that a source at `source_fs` Hz may serve, and their weights."""
        if self.config.rates == NATIVE:
            own = [fs for fs in RATES if fs <= source_fs]
            return tuple(own[-1:]), (1.0,) * len(own[-1:])
        served = {
            fs: weight
            for fs, weight in sorted(self.config.rates.items())
            if weight > 0 and (self.config.allow_upsampling or serves(source_fs, fs))
        }
        return tuple(served), tuple(served.values())

    def rows(self, num: int) -> Iterator[Sample]:
        """The samples 0 … num - 1."""
        for index in range(num):
            yield self._row(index, *row_generator(self.seed, index))

    def _row(self, index: int, rng: np.random.Generator, number: int) -> Sample:
        config, sources = self.config, self.sources
        wanted = ""
        if config.coverage:
            fs = self.rates[index % len(self.rates)]
            wanted = self.cycle[index % len(self.cycle)]
            speech_uid = self._nth(self.by_rate[fs], fs, index // len(self.rates))
        else:
            speech_uid = self._nth(self.usable, 0, index)
            fs = weighted(*self.served[sources.speech[speech_uid][0]], rng)
        speed = self._speed(rng)
        length = int(round(self.pool.seconds[speech_uid] * fs / speed))
        drawn = self.distortions.draw(rng, fs, length, wanted)
        uid = f"{self.out.name}_{index:06d}"
        return Sample(
            id=uid,
            noisy_path=audio_path(self.out, "noisy", index, uid, self.suffix),
            speech_uid=speech_uid,
            speech_sid=sources.utt2spk.get(speech_uid, speech_uid),
            clean_path=audio_path(self.out, "clean", index, uid, self.suffix),
            noise_uid=drawn.noise_uid,
            snr_dB=drawn.snr_db,
            rir_uid=drawn.rir_uid,
            augmentation=format_distortions(drawn.distortions),
            fs=fs,
            length=length,
            text=" ".join(sources.text.get(speech_uid, NO_TEXT).split()),
            lang=sources.utt2lang.get(speech_uid, "unknown"),
            seed=number,
            highpass_hz=float(config.highpass_hz),
            early_ms=float(config.reverberation.early_ms),
            level_db=drawn.level_db,
            wind_mix_gain=float(config.wind.mix_gain),
            speed=speed,
        )

    def _speed(self, rng: np.random.Generator) -> float:
        """In whole hundredths; nothing is drawn where it is off: older sets stay as they were."""
        if self.config.speed is None:
            return 1.0
        low, high = self.config.speed
        return round(low + (high - low) * rng.random(), 2)

    def _nth(self, uids: list[str], stream: int, position: int) -> str:
        """Every uid once, in an order of its own, before any comes again."""
        epoch, place = divmod(position, len(uids))
        kept, order = self.orders.get(stream, (-1, None))
        if kept != epoch:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, stream, epoch, 1]))
            order = rng.permutation(len(uids))
            self.orders[stream] = epoch, order
        return uids[order[place]]


def row_generator(seed: int, index: int) -> tuple[np.random.Generator, int]:
    """The generator that draws one row, and the number that seeds whatever is done with it later.

    Raises:
        ValueError: seed or index needs more than 32 bits.
    """
    if not (0 <= seed <= MAX_SEED and 0 <= index <= MAX_SEED):
        raise ValueError(f"seed={seed}, row {index}; accepted: 0 to {MAX_SEED}")
    sequence = np.random.SeedSequence([seed, index])
    number = int(sequence.generate_state(4, np.uint64)[0]) >> 1
    return np.random.Generator(np.random.PCG64(sequence)), number
