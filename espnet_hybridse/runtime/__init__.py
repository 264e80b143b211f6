"""The machine below: worker processes, the processor, ONNX sessions, the version."""
