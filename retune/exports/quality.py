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


def prove(built: Built, out: Path, rows: pl.DataFrame) -> dict[str, Any]:
    """The primary metric of the folder `out` and of the model in float32, as parity.json says it.

    `metric`, `rows`, `groups`, `int8`, `float32`, and of their difference `difference`, its interval `low` to `high`
    and `p`, of swapping the answers group by group (retune.evaluation.swaps). Rows that are cut in their middle are
    left out, as in parity. Raises `RetuneError` where 8 bits are worse by more than chance.
    """
    card, spec, evaluation = read_card(out), built.spec, built.given.evaluation
    kind = kinds.of(spec.kind)
    whole = learners.load(spec, built.folder, built.base, PLAIN).predict(rows)
    if spec.get("training", {}).get("truncation") == "middle":
        rows, whole = rows.filter(~whole["truncated"]), whole.filter(~whole["truncated"])
    said = np.array(parity.answers(out, card.opener, rows.select(built.columns))["answers"], dtype=np.float64)
    names = labels.names(said.shape[1]) if spec.kind != "ranking" else ["score"]
    light = pl.DataFrame({"id": rows["id"], **{name: said[:, place] for place, name in enumerate(names)}})

    def answers(predicted: pl.DataFrame, fitted: dict[str, Any]) -> Any:
        joined = predictions.join(rows, predicted, kind.columns(evaluation, predicted.columns), PLACE)
        return kind.answers(joined, fitted, evaluation, NO_TRAIN)

    both = {"int8": answers(light, card.calibration), "float32": answers(whole, built.fitted)}
    codes = groups.codes(rows["group"])
    found = comparison.paired(kind.MEASURE, both, codes, evaluation)
    metric = kind.MEASURE.metrics[0]
    values = {name: found[name][metric]["value"] for name in both}
    apart = found["difference"][metric]
    result = {"metric": metric, "rows": len(rows), "groups": int(codes.max()) + 1, **values, **apart}
    if apart["p"] is not None and apart["difference"] < 0 and apart["p"] <= 1 - evaluation.confidence:
        raise RetuneError(
            f"{built.name} is worse with 8-bit weights: {quality_in_words(result)}; write `onnx: float32`"
        )
    return result
