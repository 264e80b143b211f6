"""The corpora of the URGENT 2026 challenge: how they lie on disk, and the lists made of them."""
