"""Learner `linear` of kind `scoring`: it learns each dimension, comes back from disk, and stays within the scores."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retune import learners
from retune.learners.tfidf_ridge.fit import fit as fit_ridge
from retune.learners.tfidf_ridge.predict import load as load_ridge
from retune.learners.tfidf_ridge.scores import scores
from retune.params import Params, loads

DIMENSIONS = {"growth": "成长性", "debt": "负债", "brand": "品牌"}


def documents(rows: int, seed: int = 0, dimensions: tuple[str, ...] = ("growth", "debt")) -> pl.DataFrame:
    """Documents of three sentences; growth and debt follow from opposite words, brand from none."""
    random = np.random.default_rng(seed)
    table = []
    for number in range(rows):
        level = int(random.integers(0, 10))
        text = f"公司{number % 7}今年订单增长" + "大幅扩张" * level + "。" + "贷款减少" * (9 - level)
        for name in dimensions:
            score = 1 + level if name == "growth" else 10 - level
            table.append({"id": f"{seed}-{number}-{name}", "document": text, "dimension": name, "score": score})
    return pl.DataFrame(table)


def spec_of(c: float = 20.0) -> Params:
    options = {"analyzer": "char", "ngrams": [1, 3], "min_df": 2, "c": c, "class_weights": "none"}
    spec = {"kind": "scoring", "learner": "linear", "scores": [1, 10], "dimensions": DIMENSIONS, "linear": options}
    return loads(json.dumps(spec))


def fit(folder: Path, train: pl.DataFrame, c: float = 20.0):
    (folder / "spec.json").write_text(json.dumps(spec_of(c)))
    return fit_ridge(spec_of(c), train, documents(30, 1), Path("absent"), folder, folder)


def test_it_is_the_learner_of_scoring_models():
    assert learners.module("linear", "scoring") == "retune.learners.tfidf_ridge"


def test_it_scores_each_dimension_and_comes_back_the_same(tmp_path):
    record = fit(tmp_path, documents(120))
    rows = documents(40, 2)
    table = load_ridge(tmp_path, Path("absent"), Params()).predict(rows)
    assert table.schema == {"id": pl.String, "score": pl.Float64, "truncated": pl.Boolean}
    assert table["id"].equals(rows["id"])
    error = (table["score"] - rows["score"]).abs().mean()
    constant = (rows["score"] - 5.5).abs().mean()
    assert error < constant / 4
    assert record.history[0]["eval_mae"] < 1
    assert record.history[0]["eval_spearman"] > 0.9
    again = load_ridge(tmp_path, Path("absent"), Params()).predict(rows.reverse())
    assert again.reverse()["score"].to_list() == pytest.approx(table["score"].to_list())


def test_the_regression_is_scikit_learn_s_on_the_rows_of_its_dimension(tmp_path):
    from sklearn.linear_model import Ridge

    train, rows = documents(60), documents(9, 3, ("growth",))
    fit(tmp_path, train, c=0.5)
    predictor = load_ridge(tmp_path, Path("absent"), Params())
    part = train.filter(pl.col("dimension") == "growth")
    dense = [predictor.linear.vectors(frame["document"].to_list()).toarray() for frame in (part, rows)]
    wanted = Ridge(alpha=2.0).fit(dense[0], part["score"].to_numpy()).predict(dense[1])
    assert scores(predictor.linear, rows, predictor.spec) == pytest.approx(np.clip(wanted, 1, 10), abs=1e-4)


def test_a_dimension_without_a_training_row_gets_the_mean_score_of_all(tmp_path):
    train = documents(50, dimensions=("growth",))
    record = fit(tmp_path, train)
    rows = documents(5, 4, ("debt", "brand"))
    table = load_ridge(tmp_path, Path("absent"), Params()).predict(rows)
    assert table["score"].to_list() == pytest.approx([train["score"].mean()] * 10)
    assert any("dimension brand" in warning for warning in record.warnings)


def test_scores_hardly_better_than_a_constant_are_warned_of_with_the_key_that_helps(tmp_path):
    train = documents(120)
    blind = train.with_columns(pl.col("score").shuffle(seed=0))
    warning = fit(tmp_path, blind).warnings[0]
    assert warning.startswith("Learned next to nothing: its dev mae is ")
    assert "linear.c (here 20)" in warning
    assert not any("Learned" in warning for warning in fit(tmp_path, train).warnings)


def test_scores_stay_within_the_scale(tmp_path):
    fit(tmp_path, documents(120), c=1e6)
    extreme = pl.DataFrame(
        {"id": ["a", "b"], "document": ["大幅扩张" * 40, "贷款减少" * 40], "dimension": ["growth"] * 2}
    )
    scores = load_ridge(tmp_path, Path("absent"), Params()).predict(extreme)["score"]
    assert scores.is_between(1, 10).all()
    assert scores[0] > 8 > 3 > scores[1]
