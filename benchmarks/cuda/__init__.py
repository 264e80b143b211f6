"""What only a GPU can show: checks of training and of use; `python -m benchmarks.cuda`."""
