"""Rows: what a kind of row is, from raw files to splits, labels and queries."""
