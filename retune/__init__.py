"""Retune: a declarative build system for fine-tuned text models, on DVC."""

import os

__version__ = "0.1.0"

# Before torch loads its OpenMP: its threads spin while they wait for each other, and as soon as another process wants
# a core too, a training step takes more than ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
