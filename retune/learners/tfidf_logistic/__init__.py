"""Learner `linear`: TF-IDF over n-grams and a logistic regression, the baseline of every labelled task.

A text is its L2-normalised TF-IDF vector. Two texts become one vector: |a - b| says what differs, a * b what is shared,
and their cosine and its square how much. N-grams of characters or words, and the penalty, are chosen on dev.
"""
