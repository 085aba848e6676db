"""A label does not depend on what else was asked at the same time: a close call is computed again, alone.

Sums are rounded in another order in a batch than alone, so a probability moves in its last digits; where these decide
the label, the row is asked as `retune.load(...).classify([text])` asks it, in a batch of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retune.inference import Model

ROUNDING = {"float32": 1e-4, "bfloat16": 0.03, "float16": 0.01}
"""More than the rows beside it change in a probability, by the dtype of the model (seen: 1e-6, 0.01, 0.001)."""


def predict(model: Model, rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """`Model.predict` of rows, each with the label that it gets alone."""
    found: list[dict[str, Any]] = model.predict(list(rows))
    chosen = getattr(model.predictor, "chosen", None)
    rounding = ROUNDING.get(chosen.dtype_name, 0.0) if chosen else 0.0
    if len(rows) > 1 and rounding and model.spec.kind != "ranking":
        for place, row in enumerate(found):
            if margin(row, model.spec.labels, model.fitted) < rounding:
                (found[place],) = model.predict([rows[place]])
    return found


def margin(row: Mapping[str, Any], labels: Sequence[str], fitted: Mapping[str, Any]) -> float:
    """How far the probabilities of a row are from another label, or from being kept back."""
    cuts = [float(fitted[name]) for name in ("abstain_below", "none_below") if name in fitted]
    nearest = min((abs(float(row["probability"]) - cut) for cut in cuts), default=1.0)
    if "threshold" in fitted:
        return min(nearest, abs(float(row[f"prob_{labels[1]}"]) - float(fitted["threshold"])))
    second, first = sorted(float(row[f"prob_{label}"]) for label in labels)[-2:]
    return min(nearest, (first - second) / 2)
