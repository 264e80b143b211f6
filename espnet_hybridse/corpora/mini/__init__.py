"""The corpus of the mini recipe: speech and noise of Debian packages."""
