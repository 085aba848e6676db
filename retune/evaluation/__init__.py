"""Calibrate, evaluate, compare: metrics on arrays, intervals, paired tests."""
