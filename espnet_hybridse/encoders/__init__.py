"""Frozen speech encoders at 50 frames a second, and a cache of their features."""
