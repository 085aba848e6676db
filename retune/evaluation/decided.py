"""What a model decides: its calibrated probabilities, by what was fitted on the calibration rows, and the label."""

from __future__ import annotations

from typing import Any

import numpy as np

from retune.data.labels import log_softmax
from retune.evaluation.calibration import calibrated, log_odds
from retune.evaluation.weighted import Floats, Integers


def decided(table: Floats, fitted: dict[str, Any]) -> tuple[Floats, Integers]:
    """Calibrated probabilities [n, K] of a learner's [n, K], and the place of the decided label [n].

    That is the likeliest; of two labels with a fitted threshold the second from this probability on. So the probability
    of the decided label can be below one half.
    """
    if "threshold" in fitted:
        second = calibrated(log_odds(table[:, 0], table[:, 1]), fitted["temperature"])
        return np.stack([1 - second, second], axis=1), (second >= fitted["threshold"]).astype(np.int64)
    probabilities = np.exp(log_softmax(np.log(np.maximum(table, 1e-15)) / fitted["temperature"]))
    return probabilities, probabilities.argmax(axis=1) if len(table) else np.zeros(0, dtype=np.int64)


def confidences(probabilities: Floats, codes: Integers) -> Floats:
    """The probability of the decided label [n]."""
    return np.asarray(probabilities[np.arange(len(codes)), codes])
