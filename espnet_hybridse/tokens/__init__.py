"""Discrete tokens of clean speech: what the language model of the generative branch predicts."""
