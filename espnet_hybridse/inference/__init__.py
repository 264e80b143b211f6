"""Enhancing with trained models: arrays, streams and files."""
