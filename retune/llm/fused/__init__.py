"""Layers in fewer and larger operations than transformers', with the same numbers."""
