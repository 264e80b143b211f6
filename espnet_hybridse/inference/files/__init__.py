"""Enhancement of many files: finding, reading, writing, workers, resuming."""
