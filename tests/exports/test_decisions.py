"""An exported folder must keep back what its model keeps back."""

import numpy as np
import polars as pl

from retune.exports import parity
from retune.params import Params

ROWS = pl.DataFrame({"text": ["a", "b", "c"]})
SPEC = Params(kind="classification")
OWN = np.array([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.5, 0.3, 0.2]])


def test_a_label_that_is_kept_back_is_a_decision_of_its_own() -> None:
    assert parity.decisions(OWN, ROWS, SPEC, {}).tolist() == [0, 0, 0]
    assert parity.decisions(OWN, ROWS, SPEC, {"abstain_below": 0.5}).tolist() == [0, -1, 0]
    pairs = {"threshold": 0.2, "abstain_below": 0.35}
    assert parity.decisions(OWN[:, :2], ROWS, SPEC, pairs).tolist() == [-1, 1, -1]


def test_a_probability_near_the_cut_may_be_kept_back_or_not() -> None:
    fitted = {"abstain_below": 0.5}
    assert parity.near(OWN, ROWS, SPEC, fitted, 1e-5).tolist() == [False, False, True]
    assert parity.near(OWN, ROWS, SPEC, {}, 1e-5).tolist() == [False, False, False]


def test_a_folder_with_another_cut_is_refused_by_name() -> None:
    assert {"abstain_below", "none_below"} <= set(parity.CUTS)
