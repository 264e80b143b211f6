"""Loading for training: sampler, iterator, preprocessors, Kaldi archives."""
