"""The readings of a pair model that thinks: what decides, what it wrote, and what it says without thinking."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from retune.errors import RetuneError
from retune.evaluation import details, predictions, reading_metrics, readings
from retune.evaluation.kinds import pair
from retune.params import Params

SPEC = Params(
    kind="pair", labels=["0", "1"], threshold="f1", cost_false_positive=1.0, cost_false_negative=1.0, temperature=True,
    bootstrap=200, confidence=0.95, seed=0, errors=5, terms=None,
)  # fmt: skip
ROWS = 120


def joined(thinks: bool = True) -> pl.DataFrame:
    """Rows on which thinking helps; every tenth generated answer can't be read."""
    random = np.random.default_rng(0)
    labels = (random.random(ROWS) < 0.4).astype(np.int8)
    ids = [f"r{i}" for i in range(ROWS)]
    reasons = ["型号sv660n与sv660n相同，因此对齐。"] * ROWS
    rows = pl.DataFrame({
        "id": ids, "group": [f"g{i // 2}" for i in range(ROWS)], "text_a": ["sv660n报警e100"] * ROWS,
        "text_b": ids, "label": labels, "reasoning": reasons,
    })  # fmt: skip
    sure, unsure = ((labels - 0.5) * strength + random.normal(0, 1, ROWS) for strength in (6.0, 1.0))
    table = {"id": ids, "truncated": [False] * ROWS}
    for prefix, odds in (("", sure), ("direct_", unsure))[: 1 + thinks]:
        prob = 1 / (1 + np.exp(-odds))
        table |= {f"{prefix}prob_0": 1 - prob, f"{prefix}prob_1": prob}
    if thinks:
        written = [None if i % 10 == 0 else str(int(odds > 0)) for i, odds in enumerate(sure)]
        table |= {"generated": ["..."] * ROWS, "generated_label": written, "reasoning": ["型号sv999不同"] * ROWS}
        table |= {"reasoning_tokens": list(range(ROWS)), "samples": [["1", "1", None], None] * (ROWS // 2)}
    given = pl.DataFrame(table)
    return predictions.join(rows, given, pair.columns(SPEC, given.columns), "p.parquet")


def fitted(table: pl.DataFrame) -> dict:
    return pair.calibrate(table, SPEC) | readings.calibrate(table, SPEC)


def test_each_reading_is_that_of_a_model_that_says_nothing_else():
    table = joined()
    found = reading_metrics.measured(table, fitted(table), SPEC, {})
    direct = readings.of(table, "direct", SPEC.labels)
    alone = pair.answers(direct, pair.calibrate(direct, SPEC), SPEC, {})
    accuracy = {name: part["metrics"]["accuracy"]["value"] for name, part in found["readings"].items()}
    assert accuracy["direct"] == pytest.approx(np.mean(alone.decisions == alone.labels))
    right = table["generated_label"].cast(pl.Int8) == table["label"]
    assert accuracy["generated"] == pytest.approx(right.fill_null(False).mean())
    assert {name: part["unparsed"] for name, part in found["readings"].items()} == {
        "after_reasoning": 0, "generated": ROWS // 10, "direct": 0,
    }  # fmt: skip
    assert found["difference"]["accuracy"]["difference"] == pytest.approx(
        accuracy["after_reasoning"] - accuracy["direct"]
    )
    assert found["difference"]["accuracy"]["low"] > 0
    assert found["difference"]["accuracy"]["p"] < 0.05
    assert found["tokens"] == {"mean": 59.5, "median": 59.5, "p90": pytest.approx(107.1), "max": 119, "silent": 1}


def test_thoughts_that_do_not_help_are_warned_of_with_the_keys_that_may():
    table = joined()
    assert readings.problem(table, SPEC) is None
    blind = table.with_columns(pl.col("prob_0", "prob_1").reverse())
    said = readings.problem(blind, SPEC)
    assert said is not None
    assert "training.thinking: false" in said
    assert f"auc {roc_auc_score(blind['label'], blind['prob_1']):.3f}" in said
    assert readings.problem(joined(thinks=False), SPEC) is None, "its training has measured it"


def test_the_files_of_a_model_that_thinks(tmp_path):
    for thinks in (True, False):
        table = joined(thinks)
        folder = tmp_path / str(thinks)
        for part in ("details", "plots"):
            (folder / part).mkdir(parents=True)
        details.of("pair").write(folder, table, fitted(table), SPEC, {})
        names = {"readings.json", "rationale.json", "rationale.jsonl", "repeats.json"}
        assert names & {file.name for file in (folder / "details").iterdir()} == (names if thinks else set())
    quality = json.loads((tmp_path / "True/details/rationale.json").read_text())
    assert quality["gold"]["metrics"]["unsupported"]["value"] == 0
    assert quality["generated"]["metrics"]["unsupported"]["value"] == 1
    repeats = json.loads((tmp_path / "True/details/repeats.json").read_text())
    assert (repeats["rows"], repeats["samples"], repeats["agreement"]) == (ROWS // 2, 3, 1.0)


def test_a_probability_that_is_none_is_refused_in_every_reading():
    table = joined().drop("label", "text_a", "text_b", "reasoning", "parsed", "group")
    rows = joined().select("id", "group", "label")
    broken = table.with_columns(direct_prob_0=pl.lit(float("nan")))
    with pytest.raises(RetuneError, match="no probability"):
        predictions.join(rows, broken, pair.columns(SPEC, broken.columns), "p.parquet")
