"""A label is that of the text alone, whatever shares its batch; only last digits of numbers may differ."""

from __future__ import annotations

import random
from typing import Any

import pytest

from retune.inference import Model
from retune.serve import close_calls
from tests.support import served
from tests.support.tiny_encoder import pairs

pytestmark = pytest.mark.slow


def mixed(count: int) -> list[str]:
    """Texts of many lengths."""
    words = [char for text in pairs()["text_a"].unique(maintain_order=True) for char in text]
    draw = random.Random(0)
    return ["".join(draw.choices(words, k=draw.choice((2, 5, 9, 20, 60)))) for _ in range(count)]


def rows_of(model: Model, count: int) -> list[dict[str, str]]:
    texts = mixed(count)
    return [dict(zip(model.texts, (text, other), strict=False)) for text, other in zip(texts, texts[::-1], strict=True)]


@pytest.mark.parametrize("name", ["texts", "pairs"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_batch_changes_no_label_and_of_probabilities_less_than_is_said(name: str, dtype: str) -> None:
    model = served.in_dtype(name, dtype)
    rows = rows_of(model, 50)
    alone = [model.predict([row])[0] for row in rows]
    together = model.predict(rows)
    moved = max(
        abs(one[f"prob_{label}"] - other[f"prob_{label}"])
        for one, other in zip(alone, together, strict=True)
        for label in model.spec.labels
    )
    assert moved < close_calls.ROUNDING[dtype] / 2
    found = close_calls.predict(model, rows)
    assert [one["label"] for one in found] == [one["label"] for one in alone]


class Shaken:
    """A model whose probabilities move in a batch, as far as rounding may move them."""

    def __init__(self, model: Model, by: float) -> None:
        self.model, self.by, self.asked = model, by, 0
        self.spec, self.predictor, self.fitted = model.spec, model.predictor, model.fitted

    def predict(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The label that the moved probabilities say."""
        found = self.model.predict(rows)
        self.asked += len(rows) == 1
        if len(rows) > 1:
            for row in found:
                first, second = sorted(self.spec.labels, key=lambda label: -row[f"prob_{label}"])[:2]
                row[f"prob_{first}"] -= self.by
                row[f"prob_{second}"] += self.by
                row["label"] = max(self.spec.labels, key=lambda label: row[f"prob_{label}"])
                row["probability"] = row[f"prob_{row['label']}"]
        return found


def test_a_close_call_is_computed_again_alone_and_no_other_row_is() -> None:
    model = served.in_dtype("texts", "bfloat16")
    rows = rows_of(model, 40)
    alone = [model.predict([row])[0] for row in rows]
    shaken: Any = Shaken(model, close_calls.ROUNDING["bfloat16"] / 2)
    assert [one["label"] for one in shaken.predict(rows)] != [one["label"] for one in alone], "it does change labels"
    shaken.asked = 0
    found = close_calls.predict(shaken, rows)
    assert [one["label"] for one in found] == [one["label"] for one in alone]
    assert 0 < shaken.asked < len(rows)


def test_the_margin_is_the_way_to_another_label() -> None:
    row = {"prob_a": 0.5, "prob_b": 0.3, "prob_c": 0.2}
    assert close_calls.margin(row, ["c", "a", "b"], {}) == pytest.approx(0.1)
    row = {"prob_0": 0.62, "prob_1": 0.38}
    assert close_calls.margin(row, ["0", "1"], {"threshold": 0.4}) == pytest.approx(0.02)
