"""Learner `linear` of kind `ranking`: BM25 (Robertson and Zaragoza 2009, Lucene's variant) by the package bm25s.

Words are character n-grams without white space, since Chinese writes no spaces. The collection, of which the rarity of
a word and the mean length are taken, is the training documents and those to be ranked. Saved are the former, as text.
"""
