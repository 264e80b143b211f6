"""What the recipe's stages need: hours, memory, disk, files and network, every number traceable."""
