"""Layers and tensor helpers that more than one network uses."""
