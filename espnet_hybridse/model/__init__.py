"""One model of any branch: the ESPnet class, building it, finding it, loading its weights."""
