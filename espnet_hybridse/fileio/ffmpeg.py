"""Sound that libsndfile does not know, decoded by FFmpeg: m4a, webm, amr, the sound of video."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from espnet_hybridse.fileio.formats import AudioInfo, BadAudio

if TYPE_CHECKING:
    import av

MAX_DAMAGED = 100
"""Packets that cannot be decoded, one after another, after which a file is given up."""


class FfmpegDecoder:
    """The first or best stream of sound of any container.

    What a header says of the rate can be half of the truth (HE-AAC), so the first decoded frame
    counts; frames of another rate or layout later in the stream are brought to that one's.

    Args:
        source: opens the file.
        name: of a demuxer, for streams without a header; None finds it by the bytes.
        options: FFmpeg's.
        buffer_size: bytes that are asked for at once.

    Attributes:
        info: `frames` is a guess.
        damaged: packets left out.

    Raises:
        BadAudio: no sound in it.
    """

    def __init__(
        self,
        source: Callable[[], BinaryIO],
        name: str | None = None,
        options: Mapping[str, str] | None = None,
        buffer_size: int = 32768,
    ):
        self._source = source
        self._how = {"format": name, "buffer_size": buffer_size, "options": dict(options or {})}
        self._open()
        frame = next(self._frames, None)
        if frame is None:
            self.close()
            raise BadAudio("no sound that can be decoded")
        self._rate, self._layout = frame.sample_rate, frame.layout.name
        self._waiting = [frame]
        self._held: np.ndarray | None = None
        stream = self._stream
        seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
        seconds = seconds or (self._container.duration or 0) / 1e6
        self.info = AudioInfo(
            self._rate,
            frame.layout.nb_channels,
            max(round(seconds * self._rate), 0),
            self._container.format.name,
            stream.codec_context.name,
            exact=False,
        )

    def _open(self) -> None:
        import av  # here: most runs meet no such file

        self.damaged, self._invalid = 0, av.error.InvalidDataError
        self._resampler = av.AudioResampler
        self._file = self._source()
        try:
            try:
                self._container = av.open(self._file, **self._how)
            except UnicodeDecodeError:  # tags; newer releases replace what is no text
                self._file.seek(0)
                self._container = av.open(self._file, metadata_errors="replace", **self._how)
        except BaseException:
            self._file.close()
            raise
        self._stream = self._container.streams.best("audio")
        if self._stream is None:
            self.close()
            raise BadAudio("no sound in it")
        self._frames = self._decoded()
        self._blocks = self._converted()

    def _decoded(self) -> Iterator["av.AudioFrame"]:
        """Frames as they come; packets that are damaged are counted and left out."""
        in_a_row = 0
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except self._invalid:
                self.damaged, in_a_row = self.damaged + 1, in_a_row + 1
                if in_a_row >= MAX_DAMAGED:
                    raise
                continue
            in_a_row = 0
            yield from frames

    def _converted(self) -> Iterator[np.ndarray]:
        """(C, n) float32 blocks at the rate and in the layout of the first frame."""
        shape, resampler = None, None
        for frame in self._all_frames():
            if shape != (frame.format.name, frame.layout.name, frame.sample_rate):
                if resampler is not None:
                    yield from (rest.to_ndarray() for rest in resampler.resample(None))
                shape = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = self._resampler("fltp", self._layout, self._rate)
            frame.pts = None  # gaps in time are not filled: samples are what was recorded
            yield from (part.to_ndarray() for part in resampler.resample(frame))
        if resampler is not None:
            yield from (rest.to_ndarray() for rest in resampler.resample(None))

    def _all_frames(self) -> Iterator["av.AudioFrame"]:
        yield from self._waiting
        yield from self._frames

    def read(self, frames: int) -> np.ndarray:
        parts = [] if self._held is None else [self._held]
        count = sum(part.shape[1] for part in parts)
        while count < frames:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            count += block.shape[1]
        if not parts:
            return np.zeros((self.info.channels, 0), np.float32)
        joined = np.concatenate(parts, axis=1)
        self._held = joined[:, frames:] if count > frames else None
        return joined[:, :frames]

    def seek(self, frame: int) -> None:
        # From the beginning: containers know places by their packets, not by their samples.
        self.close()
        self._open()
        self._waiting, self._held = [], None
        while frame > 0 and (skipped := self.read(min(frame, 1 << 18)).shape[1]):
            frame -= skipped

    def close(self) -> None:
        self._container.close()
        self._file.close()
