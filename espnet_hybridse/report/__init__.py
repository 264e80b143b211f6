"""What a hybrid does with its two branches: mask statistics and pictures."""
