"""`retune sweep`: values of a model's keys tried on dev, one training each."""
