"""Learner `linear` of kind `scoring`: TF-IDF over n-grams and a ridge regression for each dimension.

All dimensions share the n-grams, which are counted once a document. The penalty is 1 / `linear.c`; n-grams of
characters or words, and the penalty, are chosen on dev. A dimension without a training row gets the mean score of all.
"""
