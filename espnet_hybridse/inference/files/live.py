"""Standard input to standard output while it runs: no header is read back or written again."""

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import soundfile

from espnet_hybridse.fileio.audio import as_stored
from espnet_hybridse.fileio.decode import MAX_CHANNELS, MAX_FS, MIN_FS, PLACEHOLDER
from espnet_hybridse.fileio.ffmpeg import FfmpegDecoder
from espnet_hybridse.fileio.formats import AudioInfo, BadAudio, keeps_length

CONTAINERS_OF = {"flac": "FLAC", "ogg": "OGG", "au": "AU"}
"""FFmpeg's name -> libsndfile's, where the header may come before the length is known."""
SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
}
"""(format, bits) of a WAV -> libsndfile's name."""
MAX_CHUNKS, MAX_HEADER = 100, 1 << 20
BLOCK_S = 0.1
PROBE = {"probesize": "2048", "analyzeduration": "0"}
"""FFmpeg would listen for five seconds to find out what it hears."""
UNKNOWN = 0xFFFFFFFF


def live_format(info: AudioInfo, subtype: str | None) -> tuple[str, str]:
    """Container and subtype of what goes out: the input's, else WAV.

    Raises:
        ValueError: a subtype that the container cannot hold.
    """
    container = CONTAINERS_OF.get(info.container, "WAV")
    codecs = {"vorbis": "VORBIS", "opus": "OPUS"}
    known = codecs.get(info.subtype, info.subtype.upper())
    if not soundfile.check_format(container, known) or not keeps_length(known):
        known = {"FLAC": "PCM_16", "OGG": "VORBIS"}.get(container, "PCM_16")
    if subtype is not None and not soundfile.check_format(container, subtype):
        raise ValueError(
            f"{container} holds no {subtype}, only "
            f"{', '.join(soundfile.available_subtypes(container))}"
        )
    return container, subtype or known


class LiveInput:
    """Sound that is still coming in: plain WAV at once, whatever else FFmpeg knows.

    Args:
        pipe: standard input.

    Attributes:
        info: what its first bytes say.

    Raises:
        BadAudio: no audio.
    """

    def __init__(self, pipe: BinaryIO):
        self._pipe = _Forward(pipe)
        plain = _plain_wav(self._pipe)
        if plain is not None:
            self.info, self._bits = plain
            return
        try:
            how = {"options": PROBE, "buffer_size": 4096}
            self._decoder = FfmpegDecoder(lambda: self._pipe, **how)
        except BadAudio:
            raise
        except Exception as error:  # FFmpeg raises several types
            raise BadAudio(f"standard input: unreadable: {error}") from error
        info = self._decoder.info
        self.info = replace(info, exact=info.container == "flac" and info.frames > 0)
        self._bits = 0

    def blocks(self) -> Iterator[np.ndarray]:
        """(C, n) as they come.

        Raises:
            BadAudio: damaged, or NaN or Inf.
        """
        size = max(round(BLOCK_S * self.info.fs), 1)
        while True:
            try:
                block = self._read_wav(size) if self._bits else self._decoder.read(size)
            except Exception as error:
                raise BadAudio(f"standard input: unreadable: {error}") from error
            if not block.shape[1]:
                return
            if not np.isfinite(block).all():
                raise BadAudio("standard input: NaN or Inf samples")
            yield block

    def _read_wav(self, frames: int) -> np.ndarray:
        width = self._bits // 8
        frame = width * self.info.channels
        data = self._pipe.read_all(frames * frame)
        data = data[: len(data) // frame * frame]
        if self.info.subtype in ("FLOAT", "DOUBLE"):
            wav = np.frombuffer(data, f"<f{width}").astype(np.float32)
        elif width == 1:
            wav = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
        else:
            # Into the upper bytes of 32 bits: 24 have no type of their own.
            wide = np.zeros((len(data) // width, 4), np.uint8)
            wide[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
            wav = wide.view("<i4")[:, 0].astype(np.float32) / 2**31
        return wav.reshape(-1, self.info.channels).T


def _plain_wav(pipe: "_Forward") -> tuple[AudioInfo, int] | None:
    """Header and bits of a WAV of plain samples, read off the pipe; None leaves all bytes there."""
    head = pipe.peek(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    place, form = 12, b""
    for _ in range(MAX_CHUNKS):
        name, size = pipe.peek(place + 8)[place : place + 4], pipe.peek(place + 8)[place + 4 :]
        if len(size) < 4:
            return None
        count = int.from_bytes(size, "little")
        if name == b"data":
            break
        if count > MAX_HEADER:
            return None
        form = pipe.peek(place + 8 + count)[place + 8 :] if name == b"fmt " else form
        place += 8 + count + count % 2
    if len(form) < 16:
        return None
    tag, channels, fs, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == 0xFFFE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    subtype = SUBTYPES.get((tag, bits))
    if subtype is None or not (1 <= channels <= MAX_CHANNELS and MIN_FS <= fs <= MAX_FS):
        return None
    pipe.skip(place + 8)
    known = 0 < count < PLACEHOLDER
    frames = count // (channels * bits // 8) if known else 0
    return AudioInfo(fs, channels, frames, "WAV", subtype, exact=known), bits


class _Forward:
    """A pipe as FFmpeg wants it: without seek, and with what is there, not with what was asked.

    Some bytes may be looked at beforehand.
    """

    def __init__(self, pipe: BinaryIO):
        self._read, self._ahead = getattr(pipe, "read1", None) or pipe.read, b""

    def peek(self, size: int) -> bytes:
        """The first bytes, which stay; fewer at the end."""
        while len(self._ahead) < size and (data := self._read(size - len(self._ahead))):
            self._ahead += data
        return self._ahead[:size]

    def skip(self, size: int) -> None:
        """Take bytes off that were looked at."""
        self._ahead = self._ahead[size:]

    def read(self, size: int) -> bytes:
        """What is there, up to `size`."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._read(size)

    def read_all(self, size: int) -> bytes:
        """Just `size` bytes, fewer at the end."""
        data = self.peek(size)
        self.skip(size)
        return data

    def close(self) -> None:
        """Leave the pipe open: it is not ours."""


class LiveOutput:
    """A file that goes out as it is written; what a library writes again later is not sent.

    Args:
        pipe: standard output.
        container: libsndfile's name; its header gets the length.
        frames: of the whole, if known.
        width: bytes of all channels of a sample, of plain samples.
    """

    def __init__(self, pipe: BinaryIO, container: str, frames: int | None, width: int):
        self._pipe, self._container = pipe, container
        self._frames, self._width = frames, width
        self._position = self._end = self._sent = 0
        self._head = bytearray()

    def write(self, data) -> int:
        data = bytes(data)
        if self._sent == 0:
            # The header is held back until sound follows, and gets the length then.
            self._head[self._position : self._position + len(data)] = data
            if not self._is_header(self._head):
                self._send_head()
        elif self._position == self._end:
            self._pipe.write(data)
            self._pipe.flush()
            self._sent += len(data)
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def _is_header(self, head: bytes) -> bool:
        if self._container == "FLAC":
            place, last = 4, False
            while not last and len(head) >= place + 4:
                last = bool(head[place] & 0x80)
                place += 4 + int.from_bytes(head[place + 1 : place + 4], "big")
            return not last or len(head) <= place
        if self._container == "WAV":
            place = head.find(b"data")
            return place < 0 or len(head) <= place + 8
        return self._container == "AU" and len(head) <= 24

    def _send_head(self) -> None:
        head = self._head
        size = UNKNOWN if self._frames is None else self._frames * self._width
        if self._container == "WAV":
            place = head.find(b"data")
            struct.pack_into("<I", head, place + 4, min(size, UNKNOWN))
            struct.pack_into("<I", head, 4, min(size + place, UNKNOWN))
        elif self._container == "AU":
            struct.pack_into(">I", head, 8, min(size, UNKNOWN))
        elif self._container == "FLAC" and self._frames is not None:
            # 36 bits of STREAMINFO.
            head[21] = (head[21] & 0xF0) | (self._frames >> 32) & 0x0F
            struct.pack_into(">I", head, 22, self._frames & UNKNOWN)
        self._pipe.write(bytes(head))
        self._pipe.flush()
        self._sent = len(head)

    def finish(self) -> None:
        """Send a header that no sound followed."""
        if self._sent == 0 and self._head:
            self._send_head()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return what of the header libsndfile reads back."""
        data = bytes(self._head[self._position : self._position + size])
        self._position += len(data)
        return data


def send(
    pipe: BinaryIO, blocks: Iterator[np.ndarray], info: AudioInfo, container: str, subtype: str
) -> int:
    """Write blocks (C, n) to standard output as they come; returns the samples of each channel.

    Args:
        pipe: standard output.
        blocks: of the result.
        info: of the input; its length counts where it is a promise.
        container, subtype: libsndfile's names.
    """
    width = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}.get(subtype, 4)
    frames = info.frames if info.exact and info.frames else None
    file, written = LiveOutput(pipe, container, frames, width * info.channels), 0
    with soundfile.SoundFile(file, "w", info.fs, info.channels, subtype, format=container) as sound:
        for block in blocks:
            if not np.isfinite(block).all():
                raise BadAudio(f"the model gave NaN or Inf at {written / info.fs:.2f} s")
            sound.write(as_stored(block.T, subtype))
            sound.flush()
            written += block.shape[1]
    file.finish()
    return written
