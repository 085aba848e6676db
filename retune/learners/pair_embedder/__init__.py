"""Learner `embedder`: a bi-encoder; two texts mean the same as far as the cosine of their embeddings is high.

Log-odds of label 1 = scale * cosine + bias. Scale and bias start from a logistic regression on the cosines of the
untuned base, so that training begins where the checkpoint already is; with `epochs: 0` that is the whole model.

The loop is retune.training.job, not sentence-transformers' trainer: its losses for labelled pairs fix the scale and
have no bias, and ours gives class weights, focal loss, R-Drop, adversaries and bit-exact resume to every learner alike.
Both texts of a pair pass the encoder in one batch. The folder opens with `SentenceTransformer(folder)` all the same.
"""
