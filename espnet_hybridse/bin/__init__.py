"""Module entry points with the names and options of `espnet2.bin`."""
