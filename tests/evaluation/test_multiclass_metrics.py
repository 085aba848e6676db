"""Metrics of a choice among classes: against scikit-learn, against repeated rows, and where they have no meaning."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.labels import log_softmax
from retune.evaluation import comparison, details, intervals, predictions
from retune.evaluation.kinds import classification
from retune.evaluation.multiclass_metrics import METRICS, measure, thirds
from retune.params import Params

LABELS = ["开通", "取消", "资费", "投诉", "查询", "其他", "换卡"]
SPEC = Params(kind="classification", labels=LABELS, bootstrap=200, confidence=0.95, seed=0, errors=5, temperature=True)
SPLITS = {"splits": {"train": {"targets": {label: 90 - 10 * i for i, label in enumerate(LABELS)}}}}


def example(rows=200, seed=0, strength=2.0, unread=()):
    generator = np.random.default_rng(seed)
    gold = generator.choice(len(LABELS), size=rows, p=np.arange(7, 0, -1) / 28)
    logits = generator.normal(size=(rows, len(LABELS)))
    logits[np.arange(rows), gold] += strength
    logs = log_softmax(logits)
    seen = np.array([i not in unread for i in range(rows)])
    return logs, gold, seen


def answers(**more):
    return classification.answered(*example(**more), thirds([90 - 10 * i for i in range(7)]))


def joined(rows=200, seed=0, strength=2.0, unread=()):
    logs, gold, seen = example(rows, seed, strength, unread)
    ids = [f"r{i}" for i in range(rows)]
    table = pl.DataFrame({"id": ids, "group": ids, "text": ids, "label": [LABELS[code] for code in gold]})
    probabilities = {f"prob_{k}": pl.Series(np.exp(logs[:, k])) for k in range(len(LABELS))}
    predicted = pl.DataFrame({"id": ids, **probabilities, "truncated": [False] * rows})
    predicted = predicted.with_columns(pl.when(pl.Series(seen)).then(pl.col("^prob_.*$")))
    return predictions.join(table, predicted, classification.columns(SPEC), "p.parquet")


def test_the_metrics_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, top_k_accuracy_score

    logs, gold, _ = example()
    decided, probabilities = logs.argmax(1), np.exp(logs)
    found = {name: float(value) for name, value in measure(answers(), np.ones(200)).items()}
    assert tuple(found) == METRICS
    assert found["macro_f1"] == pytest.approx(f1_score(gold, decided, average="macro"))
    assert found["weighted_f1"] == pytest.approx(f1_score(gold, decided, average="weighted"))
    assert found["accuracy"] == pytest.approx(accuracy_score(gold, decided))
    for k in (3, 5):
        assert found[f"top{k}"] == pytest.approx(top_k_accuracy_score(gold, probabilities, k=k, labels=range(7)))
    for name, part in (("head_f1", [0, 1, 2]), ("middle_f1", [3, 4]), ("tail_f1", [5, 6])):
        assert found[name] == pytest.approx(f1_score(gold, decided, labels=part, average="macro"))
    brier = brier_score_loss(gold, probabilities, labels=list(range(7)), scale_by_half=False)
    assert found["brier"] == pytest.approx(brier)


@given(weights=st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_weight_of_two_is_a_row_that_occurs_twice(weights):
    if not sum(weights):
        return
    given_, counts = answers(rows=40), np.array(weights)
    repeated = given_.take(np.repeat(np.arange(40), counts))
    weighted, plain = measure(given_, counts.astype(float)), measure(repeated, np.ones(counts.sum()))
    for name in METRICS:
        assert float(weighted[name]) == pytest.approx(float(plain[name]), nan_ok=True), name


def test_the_order_of_the_rows_and_the_number_of_resamples_change_nothing():
    generator = np.random.default_rng(1)
    weights, order = generator.integers(0, 4, size=(5, 200)).astype(float), generator.permutation(200)
    together = measure(answers(), weights)
    moved = measure(answers().take(order), weights[:, order])
    for name in METRICS:
        assert together[name] == pytest.approx(moved[name]), name
        assert float(measure(answers(), weights[3])[name]) == pytest.approx(together[name][3]), name


def test_a_class_without_a_row_is_left_out_of_the_mean_and_a_third_without_rows_is_undefined():
    given_ = answers(rows=300)
    few = given_.take(np.flatnonzero(given_.labels < 2))
    found = measure(few, np.ones(len(few.labels)))
    assert np.isnan(found["tail_f1"])
    assert np.isnan(found["middle_f1"])
    assert float(found["head_f1"]) == pytest.approx(float(found["macro_f1"]))


def test_top_k_has_no_meaning_for_k_classes():
    logs = log_softmax(np.eye(3))
    three = classification.answered(logs, np.arange(3), np.ones(3, dtype=bool), thirds([3, 2, 1]))
    found = measure(three, np.ones(3))
    assert np.isnan(found["top3"])
    assert np.isnan(found["top5"])


def test_thirds_are_of_the_classes_by_training_rows():
    assert thirds([5, 90, 7, 30]).tolist() == [2, 0, 1, 0]
    assert thirds([1, 1]).tolist() == [0, 1]


def test_an_unparsed_answer_never_helps():
    full, lost = (measure(answers(unread=unread), np.ones(200)) for unread in ((), range(60)))
    for name in METRICS:
        worse = float(full[name] - lost[name])
        assert -worse > 0 if name in ("brier", "calibration_error") else worse > 0, name


def test_a_row_with_one_missing_probability_is_unparsed():
    table = joined(unread=(0, 7))
    assert table.filter(~pl.col("parsed"))["id"].to_list() == ["r0", "r7"]
    found = classification.answers(table, {"temperature": 1.0}, SPEC, SPLITS)
    assert found.decisions[[0, 7]].tolist() == [-1, -1]
    assert found.ranks[[0, 7]].tolist() == [7, 7]


# -------------------------------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_the_temperature_is_found_that_made_the_labels(true):
    generator = np.random.default_rng(0)
    logs = log_softmax(generator.normal(size=(20_000, 5)) * 2)
    chances = np.exp(log_softmax(logs / true))
    gold = (chances.cumsum(1) < generator.random((20_000, 1))).sum(1).clip(max=4)
    assert classification.fit_temperature(logs, gold) == pytest.approx(true, rel=0.06)


def test_calibration_lowers_the_loss_and_moves_no_decision():
    table = joined(rows=600, strength=1.0)
    hot = table.with_columns(pl.col("^prob_.*$") ** 3)
    total = pl.sum_horizontal("^prob_.*$")
    hot = hot.with_columns(pl.col("^prob_.*$") / total)
    fitted = classification.calibrate(hot, SPEC)
    assert fitted["after"]["nll"] < fitted["before"]["nll"]
    assert fitted["after"]["accuracy"] == fitted["before"]["accuracy"]
    assert fitted["temperature"] == pytest.approx(3 * classification.calibrate(table, SPEC)["temperature"], rel=0.01)


def test_without_an_answer_nothing_is_calibrated():
    fitted = classification.calibrate(joined(rows=20, unread=range(20)), SPEC)
    assert (fitted["temperature"], fitted["rows"]) == (1.0, 0)
    assert "Only 0 of 20 calibration rows have an answer" in fitted["messages"][0]


# ------------------------------------------------------------------------------------------------------------- details


def test_every_file_of_a_model_agrees_with_its_decisions(tmp_path):
    table = joined(unread=(3,))
    for part in ("details", "plots"):
        (tmp_path / part).mkdir()
    details.of("classification").write(tmp_path, table, {"temperature": 1.0}, SPEC, SPLITS)
    found = classification.answers(table, {"temperature": 1.0}, SPEC, SPLITS)
    classes = pl.read_csv(tmp_path / "details/classes.csv")
    cells = pl.read_csv(tmp_path / "details/confusion.csv")
    wrong = pl.read_ndjson(tmp_path / "details/error_predictions.jsonl")
    failed = pl.read_ndjson(tmp_path / "details/failed_predictions.jsonl")
    assert classes["label"].to_list() == LABELS
    assert classes["rows"].sum() == cells["rows"].sum() == 200
    assert classes["f1"].mean() == pytest.approx(float(measure(found, np.ones(200))["macro_f1"]))
    right = cells.filter(pl.col("label") == pl.col("predicted"))["rows"].sum()
    assert right + len(wrong) + len(failed) == 200
    assert failed["id"].to_list() == ["r3"]
    assert wrong["probability"].is_sorted(descending=True)
    assert (wrong["label"] != wrong["predicted"]).all()
    assert all(row["predicted"] == row["likeliest"].split("; ")[0] for row in wrong.iter_rows(named=True))
    assert len(pl.read_parquet(tmp_path / "details/errors.parquet")) == SPEC.errors
    top = pl.read_csv(tmp_path / "plots/top_k_accuracy.csv")
    assert top["y"][0] == pytest.approx(right / 200)
    assert top["y"][-1] == pytest.approx(199 / 200)
    assert (tmp_path / "details/confusion_matrix.svg").read_text(encoding="utf-8").startswith("<svg xmlns=")


def test_the_picture_draws_a_square_for_every_cell_and_escapes_the_labels():
    from xml.etree import ElementTree

    from retune.evaluation import confusion_svg

    labels = [f"类别{i}" for i in range(76)] + ["<b>&"]
    label, predicted = [labels[0], labels[76], labels[5]], [labels[0], labels[5], None]
    cells = pl.DataFrame({"label": label, "predicted": predicted, "rows": [3, 2, 1], "share": [1.0, 1.0, 1.0]})
    drawn = ElementTree.fromstring(confusion_svg.document(cells, labels))
    namespace = "{http://www.w3.org/2000/svg}"
    titles = [title.text for title in drawn.iter(f"{namespace}title")]
    assert titles == ["类别0 → 类别0: 3 rows, 100 %", "<b>& → 类别5: 2 rows, 100 %", "类别5 → no answer: 1 rows, 100 %"]
    assert "var(--" not in confusion_svg.document(cells, labels)
    assert any("<b>&" in (text.text or "") for text in drawn.iter(f"{namespace}text"))


def test_models_are_compared_on_the_same_rows():
    models = {"good": answers(strength=3.0), "poor": answers(strength=0.5)}
    result = comparison.compare(classification, models, np.arange(200), SPEC)
    (pair,) = result["pairs"]
    assert pair["metrics"]["macro_f1"]["low"] > 0
    assert pair["wins"]["only_a"] > pair["wins"]["only_b"]
    assert result["over_ignorant"]["good"]["accuracy"]["low"] > 0
    majority = result["ignorant"]["accuracy"]["value"]
    assert majority == pytest.approx(np.bincount(models["good"].labels).max() / 200)
    metrics = intervals.metrics_with_intervals(classification.MEASURE, models["good"], np.arange(200), SPEC)
    assert metrics["macro_f1"]["low"] < metrics["macro_f1"]["value"] < metrics["macro_f1"]["high"]


def test_disputed_rows_name_what_each_model_decided():
    tables = {"a": joined(seed=0), "b": joined(seed=0, unread=(2,))}
    given_ = {name: classification.answers(t, {"temperature": 1.0}, SPEC, SPLITS) for name, t in tables.items()}
    found = classification.disagreements(tables, given_)
    assert found["id"].to_list() == ["r2"]
    assert found["b.decision"].to_list() == [None]
    assert found["a.decision"].to_list() == [int(given_["a"].decisions[2])]
