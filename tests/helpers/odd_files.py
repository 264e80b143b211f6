"""Audio files as other programs leave them: died recorders, containers of video, archives."""

import struct
from pathlib import Path

import numpy as np
import soundfile


def noise(samples, seed=0, channels=1):
    """(T,) or (T, C) float32 at about -20 dBFS."""
    wav = 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))
    return wav.astype(np.float32)[:, 0] if channels == 1 else wav.astype(np.float32)


def encoded(path, codec, wav, fs, fmt, **options):
    """Write (T,) with FFmpeg; returns how many samples went in, whole frames only."""
    import av

    comment = options.pop("comment", None)
    with av.open(str(path), "w", options=options) as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream(codec, rate=fs, layout="mono")
        if codec != "libmp3lame":
            stream.bit_rate = 64000
        size = stream.codec_context.frame_size or 1024
        count = wav.size // size * size
        for start in range(0, count, size):
            part = wav[None, start : start + size]
            if fmt.startswith("s16"):
                part = (part * 32767).astype("int16")
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(part), format=fmt, layout="mono"
            )
            frame.sample_rate, frame.pts = fs, start
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return count


def died(path: Path, container: str, promised: int, wav, fs=16000) -> Path:
    """A 16-bit mono file whose header promises `promised` samples of those that it holds."""
    soundfile.write(path, wav, fs, subtype="PCM_16", format=container)
    data, size = bytearray(path.read_bytes()), 2 * promised
    if container in ("WAV", "WAVEX"):
        at = data.index(b"data")
        data[4:8] = struct.pack("<I", at + size)
        data[at + 4 : at + 8] = struct.pack("<I", size)
    elif container == "RF64":
        at = data.index(b"ds64")
        data[at + 8 : at + 24] = struct.pack("<QQ", size + 80, size)
    elif container == "AIFF":
        at = data.index(b"COMM")
        data[at + 10 : at + 14] = struct.pack(">I", promised)
        at = data.index(b"SSND")
        data[at + 4 : at + 8] = struct.pack(">I", size + 8)
    elif container == "AU":
        data[8:12] = struct.pack(">I", size)
    path.write_bytes(data)
    return path


def archived(path: Path, files: dict[str, bytes], extended: bool = True) -> dict[str, str]:
    """A Kaldi archive: uid -> `x.ark:123`; kaldiio's extended entries or plain WAV."""
    entries, data = {}, b""
    for uid, content in files.items():
        data += f"{uid} ".encode()
        entries[uid] = f"{path}:{len(data)}"
        head = b"AUDIO\x08" + len(content).to_bytes(8, "little") if extended else b""
        data += head + content
    path.write_bytes(data)
    return entries
