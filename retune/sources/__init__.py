"""Where data and checkpoints come from: one module per kind of source."""
