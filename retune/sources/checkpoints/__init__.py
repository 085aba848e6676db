"""Pretrained checkpoints as plain Hugging Face folders."""
