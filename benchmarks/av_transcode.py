"""`python -m benchmarks.av_transcode IN OUT ENCODER`: PyAV as an external program.

It stands in for ffmpeg where that is not installed.
"""

import sys


def transcode(source: str, target: str, encoder: str) -> None:
    """Decode `source` and encode it to `target`."""
    import av

    with av.open(source) as reader, av.open(target, "w") as writer:
        stream = None
        for frame in reader.decode(audio=0):
            if stream is None:
                # Opus knows 48 kHz and its divisors only.
                rate = 48000 if encoder == "libopus" else frame.sample_rate
                stream = writer.add_stream(encoder, rate=rate, layout="mono")
                resampler = av.AudioResampler(stream.format, "mono", rate)
            for piece in resampler.resample(frame):
                writer.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            writer.mux(stream.encode(piece))
        writer.mux(stream.encode(None))


if __name__ == "__main__":
    transcode(*sys.argv[1:])
