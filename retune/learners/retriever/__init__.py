"""Learner `embedder` of kind `ranking`: a bi-encoder; a document's score is the cosine of its vector and the query's.

The loss is a weighted sum (`ranking_loss`): the weighted squared error of the cosine against the relevance, in-batch
negatives, and a margin over hard negatives, which are mined with the untuned base among the documents that were not
judged for the query. With Matryoshka `dimensions` the sum is also taken on the first so many numbers of each vector
(Kusupati et al. 2022). With `epochs: 0` the base is scored as it is. `SentenceTransformer(folder)` opens the folder.
"""
