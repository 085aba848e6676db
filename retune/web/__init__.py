"""Models on a web page: one input or a file, with the answers of `retune.load`; its texts are those of words.py.

Nothing here logs a text of a user, and every text of a user, a file or a model is escaped where it is shown.
"""
