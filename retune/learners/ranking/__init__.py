"""Learners of kind `ranking`, by name: `fit` and `load` as in retune.learners; a prediction is id, score, truncated."""
