"""Metrics per utterance, the results table and the do-no-harm table."""
