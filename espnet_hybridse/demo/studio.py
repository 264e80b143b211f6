"""One recording enhanced for the page: every signal, picture and number, stopped when asked to."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet_hybridse.demo.pictures import MaskStrip
from espnet_hybridse.demo.scores import SECONDS, Scorer
from espnet_hybridse.demo.tracks import Level, Track, equal_loudness
from espnet_hybridse.fileio.decode import open_audio
from espnet_hybridse.fileio.formats import CONTAINERS, FALLBACK_SUFFIX, BadAudio, shown
from espnet_hybridse.inference.enhancer import Enhancer
from espnet_hybridse.inference.files.audio_files import Writer, format_for, open_writer
from espnet_hybridse.inference.files.jobs import Job
from espnet_hybridse.inference.files.one_file import decision_of, look_at
from espnet_hybridse.inference.files.output import Output
from espnet_hybridse.inference.gate import Decision
from espnet_hybridse.inference.options import Options
from espnet_hybridse.inference.side_by_side import FUSED, SideBySide
from espnet_hybridse.model.branch import BRANCHES, HYBRID

NOISY = "noisy"


class Stopped(Exception):  # noqa: N818, not an error
    """The person at the page asked for it."""


@dataclass(frozen=True)
class Wish:
    """What a person at the page asks for.

    Attributes:
        source: the recording.
        branches: what to hear beside it, of disc, gen, hybrid.
        mix, attn_limit_db, gate: as of :class:`Options`.
    """

    source: Path
    branches: tuple[str, ...] = (*BRANCHES,)
    mix: float = 1.0
    attn_limit_db: float | None = None
    gate: str = "auto"


@dataclass(frozen=True)
class Progress:
    """Seconds of the recording that are done, of how many, and what is done with them."""

    done_s: float
    total_s: float
    doing: str


@dataclass(frozen=True)
class Shown:
    """One signal on the page.

    Attributes:
        name: "noisy", "disc", "gen" or "hybrid".
        title: to read.
        sound: WAV to play, as loud as the others.
        picture: data URI of its spectrogram.
        scores: of DNSMOS; None where there are none.
        result: file to take away, at its own level, with the source's rate and length; the source
            itself has none.
        lufs: its own loudness.
    """

    name: str
    title: str
    sound: Path
    picture: str
    scores: dict[str, float] | None
    result: Path | None = None
    lufs: float | None = None


@dataclass(frozen=True)
class Outcome:
    """Everything there is to hear and see of a recording."""

    name: str
    seconds: float
    fs: int
    signals: list[Shown]
    mask: str | None
    decision: Decision | None
    warnings: list[str] = field(default_factory=list)


class Studio:
    """Enhances recordings with models that are loaded once.

    Args:
        model: as of :meth:`Enhancer.from_pretrained`.
        device: torch device.
        max_mb: largest file in MB (10^6 bytes).

    Raises:
        ValueError: `max_mb` is not above 0.
        FileNotFoundError: there is no such model.
    """

    def __init__(self, model: str | None = None, device: str = "cpu", max_mb: float = 100.0):
        if not max_mb > 0:
            raise ValueError(f"--max_mb {max_mb:g} must be above 0")
        self.model, self.device, self.max_mb = model, device, max_mb
        whole = Enhancer.from_pretrained(model, device=device).loaded
        self._loaded = {whole.branch: whole}
        names = SideBySide(self._enhancer(whole.branch, Options())).names
        self.branches = tuple(whole.branch if name == FUSED else name for name in names)
        self.score = Scorer()

    def _enhancer(self, branch: str, options: Options) -> Enhancer:
        if branch not in self._loaded:
            self._loaded[branch] = Enhancer.from_pretrained(self.model, branch).loaded
        return Enhancer(self._loaded[branch], self.device, options)

    def check_size(self, source: Path) -> None:
        """Raise BadAudio for a file above `max_mb`."""
        size_mb = source.stat().st_size / 1e6
        if size_mb > self.max_mb:
            raise BadAudio(
                f"{size_mb:.1f} MB, and this page takes {self.max_mb:g} MB at most: start it with "
                "a larger --max_mb, or use 'hybridse enhance', which takes files of any size"
            )

    def enhance(
        self, wish: Wish, folder: Path, stop: threading.Event | None = None
    ) -> Iterator[Progress | Outcome]:
        """Enhance one recording piece by piece.

        Args:
            wish: what is asked for.
            folder: empty, for sounds and results.
            stop: once set, the next piece is not begun.

        Yields:
            :class:`Progress` after each piece, at last the :class:`Outcome`.

        Raises:
            BadAudio: a file that cannot be used; the message says why.
            ValueError: no branch or an option out of its range.
            Stopped: `stop` was set.
        """

        def check() -> None:
            if stop is not None and stop.is_set():
                raise Stopped

        options = Options(mix=wish.mix, attn_limit_db=wish.attn_limit_db, gate=wish.gate)
        names = [name for name in self.branches if name in wish.branches]
        if not names:
            raise ValueError(f"choose at least one of {', '.join(self.branches)}")
        self.check_size(wish.source)
        # One branch alone needs no other: it is run as 'hybridse enhance --branch' does.
        whole = HYBRID.name if HYBRID.name in self.branches else names[0]
        enhancer = self._enhancer(names[0] if len(names) == 1 else whole, options)
        side = SideBySide(enhancer)
        outputs = [HYBRID.name if name == FUSED else name for name in side.names]
        yield Progress(0.0, 0.0, "reading")
        look = look_at(Job("", wish.source, wish.source), Output())
        decision = decision_of(enhancer, look)
        share = 0.0 if look.silent else 1.0 if decision is None else decision.share
        info, mask = look.info, MaskStrip(look.info.seconds, look.info.fs)
        check()
        with ExitStack() as stack:
            tracks = {
                name: Track(name, folder, info.fs, info.channels, info.frames)
                for name in (NOISY, *names)
            }
            for track in tracks.values():
                stack.callback(track.close)
            writers, results = {}, {}
            for name in names:
                results[name] = folder / "results" / result_name(wish.source, name)
                form = format_for(results[name], wish.source, info)
                writers[name] = stack.enter_context(
                    open_writer(results[name], info.fs, info.channels, *form, source=wish.source)
                )
            file = stack.enter_context(open_audio(wish.source))
            heard = _passed_on(file.blocks(), tracks[NOISY])
            done = 0
            for blocks in side.stream(heard, info.fs, share, mask.add):
                check()
                for name, block in zip(outputs, blocks, strict=True):
                    if name in names:
                        tracks[name].add(block)
                        writers[name].write(block)
                done += blocks.shape[-1]
                yield Progress(done / info.fs, info.seconds, "enhancing")
        levels = {name: Level(track.loudness(), track.peak) for name, track in tracks.items()}
        peak_db = float(tracks[NOISY].strip.level().max())
        signals = []
        for name, gain in equal_loudness(levels).items():
            yield Progress(info.seconds, info.seconds, f"measuring {TITLES[name]}")
            track = tracks[name]
            check()
            scores = self.score(track.start(SECONDS), info.fs)
            for _ in track.finish(gain):
                check()
            picture = track.strip.picture(peak_db)
            result, lufs = results.get(name), levels[name].lufs
            signals.append(Shown(name, TITLES[name], track.sound, picture, scores, result, lufs))
        drawn = mask.picture() if HYBRID.name in names else None
        warnings = [*look.warnings, *_clipped(writers)]
        name = shown(wish.source.name)
        yield Outcome(name, info.seconds, info.fs, signals, drawn, decision, warnings)


TITLES = {NOISY: "Noisy", **{name: branch.title for name, branch in BRANCHES.items()}}


def result_name(source: Path, branch: str) -> str:
    """Name of a result: the source's with the branch, its ending where that can be written."""
    suffix = source.suffix if source.suffix.lower() in CONTAINERS else FALLBACK_SUFFIX
    return f"{source.stem}_{branch}{suffix}"


def _passed_on(blocks: Iterator[np.ndarray], track: Track) -> Iterator[np.ndarray]:
    for block in blocks:
        track.add(block)
        yield block


def _clipped(writers: dict[str, Writer]) -> Iterator[str]:
    for name, writer in writers.items():
        if writer.clipped:
            yield f"{writer.clipped} samples of {TITLES[name]} above full scale were clipped"
        yield from (f"{TITLES[name]}: {lost}" for lost in writer.lost)
