"""The open corpus: speech, noise and rooms of public repositories, and synthetic speech."""
