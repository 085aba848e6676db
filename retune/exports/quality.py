"""Is a model with 8-bit weights worse than in float32? Its task's primary metric of both, on the same calibration rows.

Test is only reported, so what decides whether a folder is handed on is measured on calibration. The threshold and the
temperature were fitted there, on the answers in full precision: if that favours one side, it is not the smaller one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune import learners
from retune.data import labels
from retune.errors import RetuneError
from retune.evaluation import comparison, groups, kinds, predictions
from retune.exports import parity
from retune.exports.folder import quality_in_words, read_card
from retune.exports.protocol import PLAIN

if TYPE_CHECKING:
    from pathlib import Path

    from retune.exports.protocol import Built

PLACE = "the calibration rows"
NO_TRAIN: dict[str, Any] = {"splits": {"train": {"targets": {}}}}
"""How frequent labels are says what metrics of rare ones are; the primary one is none of them."""


def prove(built: Built, out: Path, rows: pl.DataFrame, parity_found: dict[str, Any]) -> dict[str, Any]:
    """What parity.json says of the folder `out`, whose graph in float32 was proven as `parity_found`.

    Beside the differences of the answers to all rows, which have no limit of their own: `quality` with the primary
    `metric`, `rows`, `groups`, `int8`, `float32`, and of their `difference` the interval `low` to `high` and `p`, of
    swapping the answers group by group (retune.evaluation.swaps). Rows that are cut in their middle are left out, as in
    parity. Raises `RetuneError` where 8 bits are worse by more than chance.
    """
    card, spec, evaluation = read_card(out), built.spec, built.given.evaluation
    kind, asked = kinds.of(spec.kind), len(rows)
    whole = learners.load(spec, built.folder, built.base, PLAIN).predict(rows)
    if spec.get("training", {}).get("truncation") == "middle":
        rows, whole = rows.filter(~whole["truncated"]), whole.filter(~whole["truncated"])
    theirs = np.array(parity.answers(out, card.opener, rows.select(built.columns))["answers"], dtype=np.float64)
    names = ["score"] if spec.kind == "ranking" else labels.names(theirs.shape[1])
    light = pl.DataFrame({"id": rows["id"], **{name: theirs[:, place] for place, name in enumerate(names)}})

    def answers(predicted: pl.DataFrame, fitted: dict[str, Any]) -> Any:
        joined = predictions.join(rows, predicted, kind.columns(evaluation, predicted.columns), PLACE)
        return kind.answers(joined, fitted, evaluation, NO_TRAIN)

    both = {"int8": answers(light, card.calibration), "float32": answers(whole, built.fitted)}
    codes = groups.codes(rows["group"])
    found = comparison.paired(kind.MEASURE, both, codes, evaluation)
    metric = kind.MEASURE.metrics[0]
    lost: dict[str, Any] = {"metric": metric, "rows": len(rows), "groups": int(codes.max()) + 1}
    lost |= {name: found[name][metric]["value"] for name in both} | found["difference"][metric]
    if lost["p"] is not None and lost["difference"] < 0 and lost["p"] <= 1 - evaluation.confidence:
        raise RetuneError(f"{built.name} is worse with 8-bit weights: {quality_in_words(lost)}; write `onnx: float32`")
    own = parity.probabilities(whole, spec, built.fitted)
    apart = np.abs(own - theirs)
    alike = parity.decisions(own, rows, spec, built.fitted) == parity.decisions(theirs, rows, spec, built.fitted)
    return {
        **parity_found,
        "dtype": card.dtype,
        "rows": len(rows),
        "cut": asked - len(rows),
        "largest_difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
        "equal_decisions": float(alike.mean()),
        "tolerance": None,
        "in_float32": parity_found,
        "quality": lost,
    }
