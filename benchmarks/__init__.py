"""Speed and memory of the models beside their peers: `python -m benchmarks.NAME --help`."""
