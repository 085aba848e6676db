"""What is reported of one model: intervals, curves, confusion, worst errors, and rows without an answer."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.errors import RetuneError
from retune.evaluation import curves, intervals, predictions
from retune.evaluation.binary_metrics import METRICS, BinaryAnswers
from retune.evaluation.details.pair import confusion_counts, worst_errors
from retune.evaluation.kinds import pair
from retune.params import Params

SPEC = Params(bootstrap=200, confidence=0.95, seed=0)


def metrics_with_intervals(answers, groups, spec):
    return intervals.metrics_with_intervals(pair.MEASURE, answers, groups, spec)


def join(rows, predicted, place):
    return predictions.join(rows, predicted, pair.columns(SPEC), place)


def table(labels, **more):
    ids = [f"r{i}" for i in range(len(labels))]
    return pl.DataFrame({"id": ids, "group": ids, "text_a": ids, "text_b": ids, "label": labels, **more})


def predicted(ids, prob_1):
    first = [None if p is None else 1 - p for p in prob_1]
    return pl.DataFrame(
        {"id": ids, "label": [0] * len(ids), "prob_0": first, "prob_1": prob_1, "truncated": [False] * len(ids)}
    )


def example(n, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(int)
    probabilities = 1 / (1 + np.exp(-2 * (labels - 0.5) - generator.normal(size=n)))
    return BinaryAnswers(labels, (probabilities >= 0.5).astype(int), probabilities)


# -------------------------------------------------------------------------------------------------- gold labels


def test_predictions_are_joined_by_id_not_by_position():
    rows = table([0, 1, 0])
    joined = join(rows, predicted(["r2", "r0", "r1"], [0.3, 0.1, 0.2]), "test.parquet")
    assert joined["id"].to_list() == ["r0", "r1", "r2"]
    assert joined["prob_1"].to_list() == [0.1, 0.2, 0.3]
    assert joined["label"].to_list() == [0, 1, 0]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["r0", "r1"], r"p\.parquet: no prediction for 1 of 3 ids, first `r2`"),
        (["r0", "r1", "r2", "x"], r"p\.parquet: the split has no row for 1 of 4 ids, first `x`"),
        (["r0", "r1", "r1"], r"p\.parquet: id `r1` is predicted twice"),
    ],
)
def test_predictions_of_other_rows_are_refused(ids, message):
    with pytest.raises(RetuneError, match=message):
        join(table([0, 1, 0]), predicted(ids, [0.5] * len(ids)), "p.parquet")


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(RetuneError, match=r"p\.parquet: .* is no probability"):
        join(table([0, 1]), predicted(["r0", "r1"], [0.5, value]), "p.parquet")


def test_an_empty_split_is_refused():
    with pytest.raises(RetuneError, match="the split has no rows"):
        join(table([]), predicted([], []), "p.parquet")


def test_an_unparsed_answer_is_wrong_whatever_the_label_and_the_threshold():
    joined = join(table([0, 1, 1]), predicted(["r0", "r1", "r2"], [None, None, 0.8]), "p.parquet")
    for threshold in (0.0, 0.5, 1.1):
        answers = pair.decided(joined, 2.0, threshold)
        assert answers.decisions[:2].tolist() == [1, 0]
        assert answers.probabilities[:2].tolist() == [1.0, 0.0]
    assert joined["parsed"].to_list() == [False, False, True]


def test_an_unparsed_answer_never_helps():
    answers = example(60)
    ids, probabilities = [f"r{i}" for i in range(60)], answers.probabilities.tolist()
    rows = table(answers.labels)
    full = pair.decided(join(rows, predicted(ids, probabilities), "p"), 1.0, 0.5)
    lost = pair.decided(join(rows, predicted(ids, [None] * 9 + probabilities[9:]), "p"), 1.0, 0.5)
    before, after = (metrics_with_intervals(a, np.arange(60), SPEC) for a in (full, lost))
    for name in METRICS:
        worse = before[name]["value"] - after[name]["value"]
        assert -worse > 0 if name in ("brier", "calibration_error") else worse > 0, name


def test_a_quick_look_takes_rows_by_their_hash_and_keeps_their_order():
    from retune.data.kinds import pair as task
    from retune.data.kinds import ranking

    rows = table([0, 1] * 50)
    few = predictions.limited(rows, 10, task)
    assert len(few) == 10
    assert few["id"].to_list() == [name for name in rows["id"] if name in set(few["id"])]
    assert few["id"].to_list() != rows["id"].head(10).to_list()
    assert set(predictions.limited(rows.reverse(), 10, task)["id"]) == set(few["id"]), "whatever the order of the rows"
    assert predictions.limited(rows, None, task).equals(rows)
    lists = rows.with_columns(group=pl.Series([f"q{i // 5}" for i in range(100)]))
    assert predictions.limited(lists, 10, ranking)["group"].n_unique() == 2, "whole queries"


# ------------------------------------------------------------------------------------------------------ intervals


def test_every_metric_has_its_interval_in_the_order_of_the_contract():
    found = metrics_with_intervals(example(300), np.arange(300) // 2, SPEC)
    assert tuple(found) == METRICS
    assert METRICS == (
        "f1",
        "accuracy",
        "macro_f1",
        "precision",
        "recall",
        "auc",
        "average_precision",
        "brier",
        "calibration_error",
    )
    for name, entry in found.items():
        assert list(entry) == ["value", "low", "high"], name
        assert 0 <= entry["low"] <= entry["value"] < entry["high"] <= 1, name


def test_a_wider_confidence_gives_a_wider_interval():
    narrow, wide = (
        metrics_with_intervals(example(300), np.arange(300), Params(SPEC | {"confidence": confidence}))
        for confidence in (0.8, 0.99)
    )
    assert wide["f1"]["low"] < narrow["f1"]["low"] < narrow["f1"]["high"] < wide["f1"]["high"]


def test_resamples_without_a_positive_row_are_left_out_and_counted():
    labels = np.array([1] + [0] * 19)
    found = metrics_with_intervals(BinaryAnswers(labels, labels, labels * 0.9), np.arange(20), SPEC)
    assert 40 < found["recall"]["undefined"] < 110  # (19/20)^20 of 200 resamples
    assert found["recall"]["value"] == found["recall"]["low"] == 1.0
    assert "undefined" not in found["accuracy"]


def test_a_test_split_of_one_label_gives_null_not_an_error():
    labels = np.zeros(20, dtype=int)
    found = metrics_with_intervals(BinaryAnswers(labels, labels, labels + 0.1), np.arange(20), SPEC)
    assert found["auc"] == {"value": None, "low": None, "high": None, "undefined": 200}
    assert found["accuracy"]["value"] == 1.0


def test_the_calibration_error_lies_in_its_interval_even_when_it_is_small():
    """Its replicates are larger than itself, so that percentiles that are not moved would not hold it."""
    generator = np.random.default_rng(0)
    probabilities = np.full(200, 0.5)
    labels = np.tile([0, 1], 100)
    found = metrics_with_intervals(BinaryAnswers(labels, labels, probabilities), np.arange(200), SPEC)[
        "calibration_error"
    ]
    assert found["value"] == 0.0
    assert found["low"] == 0.0
    assert 0 < found["high"] < 0.1
    for seed in range(1, 6):  # not 0, whose numbers draw the labels
        probabilities = np.random.default_rng(seed).random(500)
        labels = (generator.random(500) < probabilities).astype(int)
        given = BinaryAnswers(labels, labels, probabilities)
        found = metrics_with_intervals(given, np.arange(500), SPEC)["calibration_error"]
        assert found["low"] == 0 <= found["value"] < found["high"]


# --------------------------------------------------------------------------------------- curves, confusion, errors


@pytest.mark.parametrize("ties", [False, True])
def test_the_curves_are_those_of_scikit_learn(ties):
    from sklearn.metrics import precision_recall_curve, roc_curve

    labels, _, probabilities, _ = example(150)
    probabilities = probabilities.round(1) if ties else probabilities
    fpr, tpr, thresholds = roc_curve(labels, probabilities, drop_intermediate=False)
    found = curves.roc(labels, probabilities)
    assert found["x"].to_numpy() == pytest.approx(fpr)
    assert found["y"].to_numpy() == pytest.approx(tpr)
    assert found["threshold"][1:].to_numpy() == pytest.approx(thresholds[1:])
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    found = curves.precision_recall(labels, probabilities)
    assert found["y"].to_numpy() == pytest.approx(precision[::-1])
    assert found["x"].to_numpy() == pytest.approx(recall[::-1])
    assert found["threshold"][1:].to_numpy() == pytest.approx(thresholds[::-1])


def test_a_long_curve_is_thinned_between_its_ends():
    labels, _, probabilities, _ = example(5000)
    roc, pr = curves.roc(labels, probabilities), curves.precision_recall(labels, probabilities)
    assert len(roc) == len(pr) == curves.POINTS
    assert roc.row(0) == (0.0, 0.0, None)
    assert roc.row(-1) == (1.0, 1.0, probabilities.min())
    assert pr.row(0) == (0.0, 1.0, None)
    assert pr.row(-1) == (1.0, labels.mean(), probabilities.min())
    assert roc["x"].is_sorted()
    assert roc["y"].is_sorted()
    assert (roc["y"].diff().drop_nulls() + roc["x"].diff().drop_nulls()).max() < 0.02


@pytest.mark.parametrize("label", [0, 1])
def test_curves_without_meaning_are_empty_tables_with_their_columns(label):
    labels = np.full(5, label)
    assert curves.roc(labels, np.linspace(0, 1, 5)).shape == (0, 3)
    assert len(curves.precision_recall(labels, np.linspace(0, 1, 5))) == (6 if label else 0)
    assert curves.precision_recall(labels, np.linspace(0, 1, 5)).columns == ["x", "y", "threshold"]


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_reliability_table_accounts_for_every_row(rows):
    labels, probabilities = (np.array(column) for column in zip(*rows, strict=True))
    found = curves.reliability(labels, probabilities)
    assert found["rows"].sum() == len(rows)
    assert (found["rows"] * found["y"]).sum() == pytest.approx(labels.sum())
    assert (found["lower"] - 1e-12 <= found["x"]).all()
    assert (found["x"] <= found["upper"] + 1e-12).all()
    assert (found["rows"] * found["x"]).sum() == pytest.approx(probabilities.sum())


def test_the_confusion_matrix_counts_rows():
    labels, decisions = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 1, 0, 1, 1, 1])
    counts = confusion_counts(BinaryAnswers(labels, decisions, decisions * 0.9))
    assert counts == {"true_negative": 1, "false_positive": 2, "false_negative": 1, "true_positive": 3}


def errors(count, unparsed=()):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    probabilities = np.array([0.9, 0.6, 0.8, 0.1, 0.4, 0.3, 0.2, 0.9])
    answers = BinaryAnswers(labels, (probabilities >= 0.5).astype(int), probabilities)
    joined = table(labels, parsed=[i not in unparsed for i in range(8)])
    return worst_errors(joined, answers, count)


def test_the_worst_errors_are_the_surest_wrong_decisions_of_both_kinds():
    found = errors(4)
    assert found["id"].to_list() == ["r0", "r2", "r6", "r5"]
    assert found.columns == ["id", "text_a", "text_b", "label", "decision", "prob_1"]
    assert errors(3)["id"].to_list() == ["r0", "r2", "r6"]
    assert errors(100)["id"].to_list() == ["r0", "r2", "r1", "r6", "r5", "r4"]
    assert errors(0).is_empty()


def test_one_kind_of_errors_fills_up_for_the_other():
    assert errors(4, unparsed=(4, 5))["id"].to_list() == ["r0", "r2", "r1", "r6"]
    assert errors(4, unparsed=(0, 1))["id"].to_list() == ["r2", "r6", "r5", "r4"]
