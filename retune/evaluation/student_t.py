"""Quantiles of Student's t; scipy has them too, but takes a second to load, which no stage should wait for."""

from __future__ import annotations

import math

import numpy as np


def quantile(inside: float, degrees: int) -> float:
    """The t between which and -t a share `inside` (0 to 1) of the distribution with whole `degrees` of freedom lies."""
    low, high = 0.0, 1.0  # the angle arctan(t / sqrt(degrees)), as a share of a right angle
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _between(middle * math.pi / 2, degrees) < inside else (low, middle)
    return math.tan(high * math.pi / 2) * math.sqrt(degrees)


def _between(angle: float, degrees: int) -> float:
    """The share between -t and t (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    if degrees % 2 == 0:
        k = np.arange(1, degrees // 2)
        return sine * (1.0 + float(np.cumprod((2 * k - 1) / (2 * k) * cosine**2).sum()))
    if degrees == 1:
        return 2 * angle / math.pi
    k = np.arange(1, (degrees - 1) // 2)
    terms = cosine * (1.0 + float(np.cumprod(2 * k / (2 * k + 1) * cosine**2).sum()))
    return 2 / math.pi * (angle + sine * terms)


def two_sided(t: float, degrees: int) -> float:
    """The share of the distribution that lies outside of -t and t."""
    return max(0.0, 1.0 - _between(math.atan(abs(t) / math.sqrt(degrees)), degrees))
