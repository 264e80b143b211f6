"""Training on top of ESPnet: task, trainer, launch, checkpoints, guards, progress."""
