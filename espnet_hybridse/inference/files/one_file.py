"""One file, or a few short ones at once: read, enhanced and written, or what is wrong with it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import soundfile

from espnet_hybridse.fileio.audio import MIN_SECONDS, SILENCE_PEAK
from espnet_hybridse.fileio.decode import open_audio
from espnet_hybridse.fileio.formats import AudioInfo, BadAudio, keeps_length, shown
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.audio_files import OutputFailed
from espnet_hybridse.inference.files.jobs import Job
from espnet_hybridse.inference.files.loudness import Loudness
from espnet_hybridse.inference.files.output import Output, Written, write_result
from espnet_hybridse.inference.gate import Decision, decide
from espnet_hybridse.inference.measures import Gauge
from espnet_hybridse.inference.second_look import Loudest

FAULTS = (BadAudio, OSError, RuntimeError, ValueError, MemoryError, AssertionError)
"""What a file may raise that goes to quarantine."""


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes:
        written: what was written; None of a file that was not enhanced.
        decision: of the gate; None where it is off.
        seconds_without_speech: of the input.
        warnings: what the user should know of a file that was enhanced nevertheless.
        reason: why it was not.
    """

    job: Job
    written: Written | None = None
    decision: Decision | None = None
    seconds_without_speech: float = 0.0
    warnings: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def seconds(self) -> float:
        """Length of what was written; 0 where nothing was."""
        return self.written.frames / self.written.fs if self.written else 0.0

    @property
    def fs(self) -> int:
        """Rate of what was written."""
        return self.written.fs if self.written else 0

    def as_dict(self) -> dict[str, object]:
        """For `--json` and the record."""
        row = {"id": shown(self.job.uid), "source": shown(self.job.source)}
        if self.written is None:
            return {**row, "status": "quarantined", "reason": shown(self.reason or "")}
        return {
            **row,
            "status": "enhanced",
            "target": shown(self.job.target),
            "seconds": round(self.seconds, 6),
            "fs": self.fs,
            **self.written.as_dict(),
            "seconds_without_speech": round(self.seconds_without_speech, 2),
            "gate": self.decision.as_dict() if self.decision else None,
            "warnings": list(map(shown, self.warnings)),
        }


@dataclass
class Look:
    """What one reading of a file tells, before it is enhanced.

    Attributes:
        info: what there is, not what the header says.
        peak: largest magnitude.
        power: mean square.
        gauge: what was measured.
        loudest: its loudest seconds.
        loudness: in LUFS, where it was asked for.
        warnings: about it.
    """

    info: AudioInfo
    peak: float
    power: float
    gauge: Gauge
    loudest: Loudest
    loudness: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def silent(self) -> bool:
        return self.peak < SILENCE_PEAK

    def seconds_without_speech(self) -> float:
        measures = None if self.silent else self.gauge.result()
        return max(self.info.seconds - (measures.speech_s if measures else 0.0), 0.0)


def look_at(job: Job, output: Output, keep: list[np.ndarray] | None = None) -> Look:
    """Read a file once; its blocks (C, n) are added to `keep`.

    Raises:
        BadAudio: unreadable, truncated, NaN or Inf among the samples, or none at all.
    """
    energy = 0.0
    with open_audio(job.source) as file:
        gauge, loudest = Gauge(file.info.fs), Loudest(file.info.fs)
        meter = Loudness(file.info.fs, file.info.channels) if output.loudness == "keep" else None
        for block in file.blocks():
            gauge.add(block)
            loudest.add(block)
            energy += float(np.square(block, dtype=np.float64).sum())
            if meter is not None:
                meter.add(block)
            if keep is not None:
                keep.append(block)
        info, warnings = file.info, list(file.warnings)
    if not info.frames:
        raise BadAudio("holds no sample")
    power = energy / (info.frames * info.channels)
    lufs = meter.value() if meter else None
    look = Look(info, file.peak, power, gauge, loudest, lufs, warnings)
    if look.silent:
        look.warnings.append("silent: written as it is")
    elif info.seconds < MIN_SECONDS:
        look.warnings.append(f"very short: {info.seconds:.3f} s")
    return look


def enhance_file(
    enhancer: Enhancer,
    job: Job,
    output: Output | None = None,
    progress: Callable[[float], object] | None = None,
) -> Result:
    """Enhance one file of any length in constant memory.

    Args:
        enhancer: the model.
        job: what to read and where to write.
        output: how to write it; None as the source is.
        progress: called with the seconds of audio that were written.

    Raises:
        OutputFailed: the result cannot be written.
    """
    output = output or Output()
    try:
        look = look_at(job, output)
        decision = decision_of(enhancer, look)
        with open_audio(job.source) as file:
            blocks: Iterable[np.ndarray] = file.blocks()
            dry = None
            if look.silent or (decision is not None and not decision.share):
                enhanced = iter(blocks)
            else:
                if job.noise is not None:
                    blocks = dry = Kept(blocks)
                share = None if decision is None else decision.share
                enhanced = enhancer.stream(blocks, look.info.fs, share, live=False)
            return _written(job, look, decision, enhanced, output, dry, progress)
    except OutputFailed:
        raise
    except FAULTS as error:
        return _bad(job, error)


def enhance_together(
    enhancer: Enhancer,
    group: list[Job],
    infos: dict[Job, AudioInfo],
    output: Output | None = None,
) -> list[Result]:
    """Enhance short mono files of one rate at once.

    Args:
        enhancer: the model.
        group: what to read and where to write.
        infos: their headers.
        output: as of :func:`enhance_file`.

    Raises:
        OutputFailed: a result cannot be written.
    """
    output = output or Output()
    results, wavs, looks, decisions = {}, {}, {}, {}
    for job in group:
        try:
            blocks: list[np.ndarray] = []
            looks[job] = look_at(job, output, blocks)
            wavs[job] = np.concatenate(blocks, axis=1)[0]
            decisions[job] = decision_of(enhancer, looks[job])
        except FAULTS as error:
            results[job] = _bad(job, error)
    shares = {job: 1.0 if one is None else one.share for job, one in decisions.items()}
    changed = [job for job in wavs if not looks[job].silent and shares[job]]
    enhanced = dict(wavs)
    try:
        many = enhancer.many(
            [wavs[job] for job in changed],
            infos[group[0]].fs,
            [shares[job] for job in changed],
        )
        enhanced.update(zip(changed, many, strict=True))
    except (RuntimeError, ValueError, MemoryError):
        # One of them is at fault; alone it shows which.
        return [results.get(job) or enhance_file(enhancer, job, output) for job in group]
    for job, wav in enhanced.items():
        dry = None
        if job.noise is not None and job in changed:
            dry = Kept([wavs[job][None]])
            list(dry)
        try:
            results[job] = _written(job, looks[job], decisions[job], iter([wav[None]]), output, dry)
        except OutputFailed:
            raise
        except FAULTS as error:
            results[job] = _bad(job, error)
    return [results[job] for job in group]


def decision_of(enhancer: Enhancer, look: Look) -> Decision | None:
    """The gate's decision about a file; None where it is off."""
    if enhancer.options.gate == "off" or look.silent:
        return None
    return enhancer.look_again(decide(look.gauge.result()), look.loudest)


class Kept:
    """Passes blocks (C, n) on and keeps them until the same number of samples is taken out."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self._blocks = blocks
        self._held: list[np.ndarray] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self._held.append(block)
            yield block

    def take(self, count: int) -> np.ndarray:
        """The next (C, count) of what went through."""
        held = np.concatenate(self._held, axis=1)
        self._held = [held[:, count:]]
        return held[:, :count]


def _written(
    job: Job,
    look: Look,
    decision: Decision | None,
    blocks: Iterator[np.ndarray],
    output: Output,
    dry: Kept | None = None,
    progress: Callable[[float], object] | None = None,
) -> Result:
    """Write the blocks (C, n) of a result, and what was taken away."""
    pairs = ((block, None if dry is None else dry.take(block.shape[1])) for block in blocks)
    written = write_result(job, look.info, pairs, output, look.power, look.loudness, progress)
    warnings = [*look.warnings, *written.warnings]
    kind, form = look.info.container, f"{written.container} {written.subtype}"
    if kind not in soundfile.available_formats():
        warnings.append(f"written as {form}: {kind.partition(',')[0]} is only read")
    elif not keeps_length(look.info.subtype):
        warnings.append(f"written as {form}: {look.info.subtype} would change the length")
    quiet_s = look.seconds_without_speech()
    return Result(job, written, decision, quiet_s, tuple(warnings))


def _bad(job: Job, error: BaseException) -> Result:
    return Result(job, reason=f"{type(error).__name__}: {error}")
