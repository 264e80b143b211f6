"""Speed and memory of the models, side by side with their peers in one run."""
