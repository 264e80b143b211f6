"""Data preparation: packages or folders of recordings in, lists of the three sets out."""
