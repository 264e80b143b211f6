"""The seven distortions of the URGENT 2026 challenge: parameters, then rendering."""
