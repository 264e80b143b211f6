"""What the trainer does around each step: saving, averaging, guarding, logging, profiling."""
