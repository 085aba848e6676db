"""Altered copies of training rows: swapped pairs, synonyms, homophones, deletions."""
