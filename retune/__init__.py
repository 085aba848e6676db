"""Retune: a declarative build system for fine-tuned text models, on DVC."""

__version__ = "0.1.0"
