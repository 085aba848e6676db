"""Kind `scoring` measured as DVC runs it: calibrate, evaluate, compare; what each model's files say."""

import json

import numpy as np
import polars as pl
import pytest

from retune.errors import RetuneError
from retune.evaluation import counts, predictions, readings, self_consistency
from retune.evaluation.kinds import scoring
from retune.evaluation.score_metrics import METRICS
from retune.params import Params
from retune.report import words
from tests.support.scoring_project import DIMENSIONS, LABELS, MODELS, SAMPLED, SCORES, build

SPEC = Params(kind="scoring", labels=LABELS, scores=[1, 10], dimensions=DIMENSIONS, temperature=True, bins=None)
SPLITS = {"splits": {"train": {"targets": {"growth:2": 3, "growth:6": 1, "debt:9": 2}}}}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("project"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def joined(gold, score, dimension="growth", **more):
    ids = [f"r{i}" for i in range(len(gold))]
    rows = pl.DataFrame({"id": ids, "group": ids, "document": ids, "dimension": [dimension] * len(ids), "score": gold})
    given = pl.DataFrame(
        {"id": ids, "score": pl.Series(score, dtype=pl.Float64), "truncated": [False] * len(ids), **more}
    )
    return predictions.join(rows, given, scoring.columns(SPEC, given.columns), "p.parquet")


def test_the_metrics_are_those_of_the_predicted_scores(built):
    rows = pl.read_parquet(built / "data/splits/risk/test.parquet")
    table = rows.join(pl.read_parquet(built / "data/predictions/risk/linear/test.parquet"), on="id", suffix="_given")
    metrics = read(built / "reports/metrics/linear.json")["test"]
    assert metrics["mae"]["value"] == pytest.approx((table["score"] - table["score_given"]).abs().mean())
    assert metrics["mae"]["low"] < metrics["mae"]["value"] < metrics["mae"]["high"]
    assert [key for key, value in metrics.items() if isinstance(value, dict)] == list(METRICS)
    assert (metrics["rows"], metrics["unparsed"]) == (len(rows), 0)


def test_the_estimate_is_fitted_with_the_temperature_on_the_calibration_rows(built):
    fitted = read(built / "data/calibrations/risk/thinker.json")
    rows = pl.read_parquet(built / "data/splits/risk/test.parquet")
    table = rows.join(pl.read_parquet(built / "data/predictions/risk/thinker/test.parquet"), on="id", suffix="_given")
    chances = table.select(f"prob_{k}" for k in range(10)).to_numpy() ** (1 / fitted["temperature"])
    chances /= chances.sum(1, keepdims=True)
    median = [SCORES[np.flatnonzero(row.cumsum() >= 0.5)[0]] for row in chances]
    found = {"mean": chances @ SCORES, "median": np.array(median), "mode": SCORES[chances.argmax(1)]}
    maes = {rule: np.abs(values - table["score"].to_numpy()).mean() for rule, values in found.items()}
    metrics = read(built / "reports/metrics/thinker.json")["test"]
    assert fitted["estimate"] == min(fitted["maes"], key=fitted["maes"].__getitem__)
    assert fitted["maes"][fitted["estimate"]] == fitted["after"]["mae"]
    assert metrics["mae"]["value"] == pytest.approx(maes[fitted["estimate"]], abs=1e-9)
    shown = read(built / "reports/evaluations/risk/thinker/details/estimates.json")
    assert {rule: one["mae"]["value"] for rule, one in shown.items()} == pytest.approx(maes, abs=1e-9)
    assert len(set(maes.values())) == 3
    assert fitted["temperature"] > 1.1
    assert fitted["after"]["nll"] < fitted["before"]["nll"]
    assert fitted["direct"]["temperature"] > fitted["temperature"]


def test_a_model_without_probabilities_has_nothing_to_calibrate(built):
    fitted = read(built / "data/calibrations/risk/linear.json")
    assert (fitted["temperature"], fitted["before"]["nll"], fitted["messages"]) == (1.0, None, [])
    assert fitted["before"]["mae"] == fitted["after"]["mae"] > 0
    nothing = scoring.calibrate(joined([3, 4], [None, None]), SPEC)
    assert (nothing["temperature"], nothing["rows"], nothing["after"]) == (1.0, 0, {"nll": None, "mae": None})


def test_a_model_that_is_sure_of_one_score_right_or_wrong_is_decided_by_it():
    gold = [2, 4, 6, 8, 9, 3, 5, 7]
    said = [2, 4, 6, 8, 9, 3, 9, 2]  # all probability on one score, far off in two rows
    table = {f"prob_{k}": [1.0 if score == k + 1 else 0.0 for score in said] for k in range(10)}
    fitted = scoring.calibrate(joined(gold, said, **table), SPEC)
    assert fitted["temperature"] > 5
    assert fitted["maes"]["mode"] == fitted["after"]["mae"] == pytest.approx(9 / 8)
    assert fitted["maes"]["mean"] > 1.3
    kept = scoring.calibrate(joined(gold, said, **table), Params({**SPEC, "estimate": "mean"}))
    assert (kept["estimate"], kept["after"]["mae"]) == ("mean", fitted["maes"]["mean"])


def test_a_row_without_an_answer_has_the_worst_possible_error():
    given = scoring.answers(
        joined([2, 9, 5, 6], [None, None, None, 6.4]), {"temperature": 1.0, "estimate": None}, SPEC, SPLITS
    )
    assert given.estimates.tolist() == [10, 1, 10, 6.4]
    assert given.seen.tolist() == [False, False, False, True]
    found = scoring.MEASURE.values(given, np.ones(4))
    assert found["mae"] == pytest.approx((8 + 8 + 5 + 0.4) / 4)
    assert found["exact"] == 0.25


def test_scores_outside_the_scale_count_as_its_ends_and_broken_ones_are_an_error():
    given = scoring.answers(joined([2, 9], [-4.0, 12.0]), {"temperature": 1.0, "estimate": None}, SPEC, SPLITS)
    assert given.estimates.tolist() == [1, 10]
    with pytest.raises(RetuneError, match="not finite"):
        scoring.answers(joined([2], [float("nan")]), {"temperature": 1.0, "estimate": None}, SPEC, SPLITS)


def test_the_constant_is_the_training_mean_of_the_dimension_and_of_all_where_it_has_no_row():
    assert scoring.training_means(SPLITS["splits"]["train"]["targets"], list(DIMENSIONS)).tolist() == [3, 9, 5]
    given = scoring.answers(joined([2, 9], [5.0, None]), {"temperature": 1.0, "estimate": None}, SPEC, SPLITS)
    assert scoring.constant_baseline(given).estimates.tolist() == [3, 3]
    assert scoring.constant_baseline(given).seen.all()
    with pytest.raises(RetuneError, match="no rows"):
        scoring.training_means({}, ["growth"])


@pytest.mark.parametrize(
    ("scores", "own", "wanted"),
    [([1, 10], None, (4, 8)), ([1, 5], None, (3, 4)), ([0, 1], None, (1,)), ([1, 10], [6], (6,))],
)
def test_bins_are_thirds_of_the_scores_or_the_task_s_own(scores, own, wanted):
    assert scoring.bins(Params(scores=scores, bins=own)) == wanted


def test_models_are_compared_by_their_errors(built):
    result = read(built / "reports/comparisons/risk/comparison.json")
    pairs = {(pair["a"], pair["b"]): pair for pair in result["pairs"]}
    pair = pairs["linear", "thinker"]
    assert pair["metrics"]["mae"]["low"] > 0
    assert pair["wins"]["only_b"] > pair["wins"]["only_a"]
    metrics = {name: read(built / f"reports/metrics/{name}.json")["test"] for name in MODELS}
    wanted = metrics["linear"]["mae"]["value"] - metrics["thinker"]["mae"]["value"]
    assert pair["metrics"]["mae"]["difference"] == pytest.approx(wanted)
    assert result["over_ignorant"]["thinker"]["mae"]["high"] < 0
    targets = read(built / "data/splits/risk/summary.json")["splits"]["train"]["targets"]
    means = dict(zip(DIMENSIONS, scoring.training_means(targets, list(DIMENSIONS)), strict=True))
    rows = pl.read_parquet(built / "data/splits/risk/test.parquet")
    level = rows["dimension"].cast(pl.String).replace_strict(means)
    assert result["ignorant"]["mae"]["value"] == pytest.approx((rows["score"] - level).abs().mean())


def test_wins_count_rows_and_agreement_is_of_rounded_scores():
    a = scoring.answers(joined([2, 5, 9], [2.4, 5.0, 4.0]), {"temperature": 1.0, "estimate": None}, SPEC, SPLITS)
    b = scoring.answers(joined([2, 5, 9], [2.0, 7.0, 4.0]), {"temperature": 1.0, "estimate": None}, SPEC, SPLITS)
    assert scoring.wins(a, b) == (1, 1, pytest.approx(2 / 3))


def test_each_dimension_is_measured_on_its_rows(built):
    table = pl.read_csv(built / "reports/evaluations/risk/linear/details/dimensions.csv")
    metrics = read(built / "reports/metrics/linear.json")["test"]
    assert table["dimension"].to_list() == list(DIMENSIONS)
    assert (table["mae"] * table["rows"]).sum() / table["rows"].sum() == pytest.approx(metrics["mae"]["value"])
    constant = read(built / "reports/comparisons/risk/comparison.json")["ignorant"]["mae"]["value"]
    assert (table["constant_mae"] * table["rows"]).sum() / table["rows"].sum() == pytest.approx(constant)


def test_the_files_of_a_model_agree_with_its_metrics(built):
    folder = built / "reports/evaluations/risk/silent"
    metrics = read(built / "reports/metrics/silent.json")["test"]
    cells = pl.read_csv(folder / "details/confusion.csv")
    assert cells["rows"].sum() == metrics["rows"]
    assert cells.filter(pl.col("predicted").is_null())["rows"].sum() == metrics["unparsed"] > 0
    right = cells.filter(pl.col("label") == pl.col("predicted"))["rows"].sum()
    assert right / metrics["rows"] == pytest.approx(metrics["exact"]["value"])
    errors = pl.read_parquet(folder / "details/errors.parquet")
    far = (errors["predicted"] - errors["score"]).abs()
    assert far.is_sorted(descending=True)
    assert len(errors) == 6
    shares = pl.read_csv(folder / "plots/score_distribution.csv")
    assert (shares["y"].sum(), shares["gold"].sum()) == (pytest.approx(1), pytest.approx(1))
    assert shares["x"].to_list() == list(SCORES)
    by_estimate = pl.read_csv(folder / "plots/gold_by_estimate.csv")
    assert by_estimate["rows"].sum() == metrics["rows"] - metrics["unparsed"]


# ------------------------------------------------------------------------------------------------------------ readings


def test_the_three_readings_are_measured_apart(built):
    found = read(built / "reports/evaluations/risk/thinker/details/readings.json")
    metrics = read(built / "reports/metrics/thinker.json")["test"]
    rows = pl.read_parquet(built / "data/splits/risk/test.parquet")
    table = rows.join(pl.read_parquet(built / "data/predictions/risk/thinker/test.parquet"), on="id", suffix="_given")
    assert found["readings"]["after_reasoning"]["metrics"] == {name: metrics[name] for name in METRICS}
    said, gold = pl.col("generated_label").cast(pl.Float64), pl.col("score")
    errors = table.select((said - gold).abs().fill_null(pl.max_horizontal(gold - 1, 10 - gold))).to_series()
    assert found["readings"]["generated"]["metrics"]["mae"]["value"] == pytest.approx(errors.mean())
    assert found["readings"]["generated"]["unparsed"] == table["generated_label"].null_count() > 0
    after, direct = (found["readings"][name]["metrics"]["mae"]["value"] for name in ("after_reasoning", "direct"))
    assert found["difference"]["mae"]["difference"] == pytest.approx(after - direct)
    assert found["difference"]["mae"]["high"] < 0
    tokens = table["reasoning_tokens"]
    assert found["tokens"]["mean"] == pytest.approx(tokens.mean())
    assert found["tokens"]["median"] == tokens.median()
    assert found["tokens"]["silent"] == (tokens == 0).sum()


def test_models_that_do_not_think_have_no_readings(built):
    for name in ("linear", "silent"):
        details = built / f"reports/evaluations/risk/{name}/details"
        assert not (details / "readings.json").exists()
        assert not (details / "rationale.json").exists()
        assert "direct" not in read(built / f"data/calibrations/risk/{name}.json")


def test_a_written_answer_that_is_no_label_is_unparsed():
    table = joined([2, 9, 5], [2.0, 9.0, 5.0], generated_label=["2", "11", None])
    found = readings.of(table, "generated", LABELS)
    assert found["parsed"].to_list() == [True, False, False]
    given = scoring.answers(found, {"temperature": 1.0, "estimate": None}, SPEC, SPLITS)
    assert given.estimates.tolist() == pytest.approx([2, 1, 10], abs=1e-9)


def test_generated_scores_of_some_rows_are_counted_beside_the_scored_ones():
    given = pl.DataFrame({
        "id": ["r0", "r1", "r2"], "score": [2.5, 8.0, 5.0], "generated": ["2", "?", None],
        "generated_label": ["2", None, None], "truncated": [False] * 3,
    })  # fmt: skip
    found = counts.counts(joined([2, 9, 5], [2.5, 8.0, 5.0]), given)
    assert (found["generated_rows"], found["generated_unparsed"]) == (2, 1)
    assert (found["generated_mae"], found["scored_mae"]) == (0.0, 0.5)
    assert "unparsed; MAE 0.000 instead of 0.500" in words.remarks(found)[0]


# --------------------------------------------------------------------------------------------------------- consistency


def test_correlations_between_dimensions_are_over_documents_that_have_both():
    documents = pl.Series([f"d{i // 2}" for i in range(12)])
    random = np.random.default_rng(3)
    gold, predicted = random.integers(1, 11, 12).astype(float), random.uniform(1, 10, 12)
    seen, codes = np.ones(12, dtype=bool), np.arange(12) % 2
    seen[3] = False  # the debt of document d1
    given = scoring.ScoreAnswers(gold, predicted, seen, gold, codes, (1, 10), (4, 8))
    found = self_consistency.correlations(documents, given, list(DIMENSIONS))
    kept = [0, 2, 3, 4, 5]
    assert found["dimensions"] == ["growth", "debt"]
    assert found["gold"][0][1] == pytest.approx(np.corrcoef(gold[::2][kept], gold[1::2][kept])[0, 1])
    assert found["predicted"][1][0] == pytest.approx(np.corrcoef(predicted[::2][kept], predicted[1::2][kept])[0, 1])
    assert found["gold"][0][0] == pytest.approx(1)
    assert found["gap"] == pytest.approx(abs(found["gold"][0][1] - found["predicted"][0][1]))
    few = self_consistency.correlations(documents[:4], given.take(np.arange(4)), list(DIMENSIONS))
    assert few["gold"][0][1] is None
    assert "gap" not in few


def test_repeated_samples_have_a_variance(built):
    found = read(built / "reports/evaluations/risk/thinker/details/consistency.json")["repeats"]
    assert (found["rows"], found["samples"], found["measured"]) == (SAMPLED, 3, SAMPLED)
    assert found["unparsed"] == pytest.approx(1 / 3)
    rows = pl.read_parquet(built / "data/predictions/risk/thinker/test.parquet").drop_nulls("samples")
    variances = [np.var([value for value in values if value is not None], ddof=1) for values in rows["samples"]]
    assert found["variance"] == pytest.approx(np.mean(variances))
    assert read(built / "reports/evaluations/risk/linear/details/consistency.json")["repeats"] is None


def test_repeated_labels_have_an_agreement():
    table = pl.DataFrame({
        "label": [1, 0, 1, 1],
        "samples": [["1", "1", "0"], ["1", "1", "1"], None, [None, None, None]],
    })  # fmt: skip
    found = self_consistency.votes(table, "label")
    assert (found["rows"], found["samples"]) == (3, 3)
    assert found["unparsed"] == pytest.approx(1 / 3)
    assert found["agreement"] == pytest.approx((2 / 3 + 1) / 2)
    assert (found["same"], found["accuracy"]) == (0.5, pytest.approx(1 / 3))
    assert self_consistency.votes(table.drop("samples"), "label") is None


def test_reasons_are_measured_beside_the_gold_ones(built):
    found = read(built / "reports/evaluations/risk/thinker/details/rationale.json")
    assert found["gold"]["metrics"]["unsupported"]["value"] == 0
    assert found["generated"]["metrics"]["unsupported"]["value"] > 0.3
    assert found["gold"]["metrics"]["specificity"]["value"] > found["generated"]["metrics"]["specificity"]["value"]
    for name in ("coherence", "terms", "sufficiency", "specificity"):
        wanted = found["generated"]["metrics"][name]["value"] - found["gold"]["metrics"][name]["value"]
        assert found["difference"][name]["difference"] == pytest.approx(wanted)
    rows = pl.read_ndjson(built / "reports/evaluations/risk/thinker/details/rationale.jsonl")
    assert rows["generated_terms"].mean() == pytest.approx(found["generated"]["metrics"]["terms"]["value"])
    assert len(rows) == found["rows"]
