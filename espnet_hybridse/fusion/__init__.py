"""The fusion network, which mixes the outputs of the branches under a mask."""
