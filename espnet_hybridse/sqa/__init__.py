"""Quality networks as a loss of the fusion: the published one, and two that need no download."""
