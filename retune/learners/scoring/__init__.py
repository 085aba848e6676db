"""Learners of kind `scoring` that are no learner of labels, by name; a prediction is id, score, truncated."""
