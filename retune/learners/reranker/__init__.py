"""Learner `encoder` of kind `ranking`: a reranker, which reads query and document in one input and gives one score.

A linear layer over the pooled token states gives the score; RankNet or ListNet (`ranking_loss.reranker`) compares the
documents of a query, which a batch holds together. The folder opens with `CrossEncoder(folder)`.
"""
