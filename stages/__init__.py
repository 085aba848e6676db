"""The stages of the pipeline: one small script each."""
