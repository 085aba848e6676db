"""Sample corpora that the project makes itself: one module each, with `generate(seed, size)`."""
