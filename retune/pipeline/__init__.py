"""From what a user declares to stages that run: schemas, checks, resolve, fingerprints, the runtime of a stage."""
