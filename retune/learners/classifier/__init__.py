"""Learner `encoder`: a transformer over the text, or over both texts of a pair, which then attend to each other.

A linear layer over one pooled vector gives a logit for each label. The vector is what the catalog's `pooling` says.
Where it says nothing: the checkpoint's own pooler over the first token if it brings a pretrained one (BERT, MacBERT);
else the mean over the tokens, since a new pooler would have to be learned from nothing. On pairs, from a sentence
encoder and a few thousand rows, this learner tends to collapse to one class, which is then said: the learner `embedder`
is the choice there.
"""
