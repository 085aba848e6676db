"""Learner `llm` of kind `ranking`: a causal LM is asked whether the document answers the query, yes or no.

The score is the log-odds of yes, read by label scoring; training and packing are those of retune.learners.llm. A
training row's answer is yes from relevance 0.5 on.
"""
