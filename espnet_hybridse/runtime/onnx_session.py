"""ONNX networks on one CPU thread: files are worked on in parallel, not a network's layers."""

from pathlib import Path


def onnx_session(model: Path | bytes):
    """Make an onnxruntime session of a file, or of a serialized model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
