"""The network of DNSMOS over overlapping segments, without computing what they share again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from espnet_hybridse.runtime.onnx_session import onnx_session

FS = 16000
HOP = 160
WINDOW = 2 * HOP
SEGMENT = 900
"""Frames of a segment: 9.01 s."""
STEP = 100
"""Frames from one segment to the next: 1 s."""
CHUNK = 180
"""Frames that the layers see at once: what they make of them still fits a processor's caches."""
REACH = 4
"""Frames on either side that a frame sees through the four layers before the first pooling."""
FLOOR = 1e-12
POOL = 2


class DnsmosNetwork:
    """`sig_bak_ovr.onnx`, cut where its segments stop being alike.

    It looks at 9.01 s, once every second, so that plainly run it computes eight ninths of every
    segment again. Its first four layers, 98 % of the work, see four frames to either side and
    start a segment on the same grid of frames, hence they run over the file once; only the four
    frames at the ends of segments within it, next to which the network sees zeros, are computed
    for each. After its second pooling segments are no longer on one grid: the rest runs per
    segment.

    Args:
        path: the ONNX file.
    """

    def __init__(self, path: Path):
        import onnx
        from onnx import numpy_helper

        model = onnx.load(str(path))
        weights = {item.name: item for item in model.graph.initializer}
        nodes = list(model.graph.node)
        kernels = [
            numpy_helper.to_array(weights[node.input[1]])
            for node in nodes
            if node.op_type == "Conv" and len(weights[node.input[1]].dims) == 3
        ]
        real, imag = (kernel[:, :, 0] for kernel in kernels)  # (161, 320) each
        self.transform = np.concatenate([real, imag]).T.copy()
        first = next(
            i
            for i, node in enumerate(nodes)
            if node.op_type == "Conv" and len(weights[node.input[1]].dims) == 4
        )
        pool = next(i for i, node in enumerate(nodes) if node.op_type == "MaxPool")
        self.layers = session(model, nodes[first : pool + 1])
        self.head = session(model, nodes[pool + 1 :])

    def __call__(self, wav: np.ndarray, count: int) -> np.ndarray:
        """Raw outputs of `count` segments, the n-th from second n on.

        Args:
            wav: (T,) at 16 kHz, at least 9.01 s and `count` - 1 seconds.

        Returns:
            (count, 3): SIG, BAK, OVRL before their calibration.
        """
        rows = [self.head(segment)[0] for segment in self.segments(wav, count)]
        return np.stack(rows)

    def segments(self, wav: np.ndarray, count: int) -> Iterator[np.ndarray]:
        """(1, 32, 450, 80) of each segment: what the layers before the first pooling give."""
        edge, total = REACH // POOL, SEGMENT + STEP * (count - 1)
        parts = self.over_file(wav, total)
        held, begin = next(parts), 0
        for start in range(0, STEP * count, STEP):
            stop = start + SEGMENT
            while begin + POOL * held.shape[2] < stop:
                held = np.concatenate([held, next(parts)], axis=2)
            held, begin = held[:, :, (start - begin) // POOL :], start
            segment = held[:, :, : SEGMENT // POOL].copy()
            # The file's own ends are those of the first and the last segment already.
            if start:
                segment[:, :, :edge] = self.end(wav, start)[:, :, :edge]
            if stop < total:
                segment[:, :, -edge:] = self.end(wav, stop - 2 * REACH)[:, :, -edge:]
            yield segment

    def end(self, wav: np.ndarray, start: int) -> np.ndarray:
        """The layers over a few frames, beyond which they see zeros."""
        return self.layers(self.features(wav, start, start + 2 * REACH))

    def over_file(self, wav: np.ndarray, total: int) -> Iterator[np.ndarray]:
        """The layers over the first `total` frames, in parts of CHUNK frames."""
        for at in range(0, total, CHUNK):
            end, before = min(at + CHUNK, total), min(REACH, at)
            pooled = self.layers(self.features(wav, at - before, min(end + REACH, total)))
            yield pooled[:, :, before // POOL :][:, :, : (end - at) // POOL]

    def features(self, wav: np.ndarray, start: int, stop: int) -> np.ndarray:
        """(1, 1, stop - start, 161): log power of the frames; fewer where the file ends."""
        part = wav[HOP * start : HOP * (stop - 1) + WINDOW]
        frames = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::HOP]
        parts = frames @ self.transform
        bins = parts.shape[1] // 2
        power = parts[:, :bins] ** 2 + parts[:, bins:] ** 2
        return np.log10(np.maximum(power, np.float32(FLOOR)))[None, None]


def session(model, nodes):
    """A function that runs these nodes of a model: one input, one output, any number of frames."""
    from onnx import TensorProto, helper

    used = {name for node in nodes for name in node.input}
    given, result = nodes[0].input[0], nodes[-1].output[0]
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
        [item for item in model.graph.initializer if item.name in used],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    run = onnx_session(part.SerializeToString()).run
    return lambda x: run(None, {given: np.ascontiguousarray(x, dtype=np.float32)})[0]
