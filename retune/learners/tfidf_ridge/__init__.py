"""Learner `linear` of kind `scoring`: TF-IDF over character n-grams and a ridge regression for each dimension.

All dimensions share the n-grams, which are counted once a document. The penalty is 1 / `linear.c`. A dimension without
a training row gets the mean score of all.
"""
