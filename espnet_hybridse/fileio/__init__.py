"""Lists, audio, shards, YAML, packaged weights and pictures: reading and writing."""
