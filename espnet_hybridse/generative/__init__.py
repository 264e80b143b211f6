"""The generative branch: semantic encoder, token language model and the refiner it steers."""
