"""What the machine lends: worker processes, the processor, ONNX sessions; and the version."""
