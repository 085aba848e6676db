"""Learner `linear` of kind `ranking`: BM25 (Robertson and Zaragoza 2009, Lucene's variant).

Words are character n-grams without white space, since Chinese writes no spaces. The rarity of a word and the mean
length are those of the training documents, which are saved as text:
one query is served as it was measured.
"""
