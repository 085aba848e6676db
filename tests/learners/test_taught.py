"""Every learner that can be taught: a teacher's word moves it, and unlabelled rows teach what the labels do not say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retune import learners
from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.learners.tfidf_logistic.predict import load as load_logistic
from retune.params import Params, loads
from tests.support import encoder_fit, ranking_fit
from tests.support.tiny_encoder import pairs, tiny_encoder

LABELS = ["还款", "额度", "退款"]
TEXTS = ["还a" * 4, "额b" * 4, "退c" * 4]
LINEAR = {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 10.0, "class_weights": "none"}
TEACHER = {"model": "wise", "weight": 0.5, "temperature": 1.0, "unlabelled_rows": None}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


def texts(count: int, known: bool = True) -> pl.DataFrame:
    codes = [i % 3 for i in range(count)]
    return pl.DataFrame(
        {
            "id": [f"{known}{i}" for i in range(count)],
            "text": [TEXTS[k] + "wxyz"[i % 4] for i, k in enumerate(codes)],
            "label": pl.Series([LABELS[k] if known else None for k in codes], dtype=pl.String),
        }
    )


def told(rows: pl.DataFrame, codes: list[int], count: int, sure: float = 0.98) -> pl.DataFrame:
    """The rows with a teacher that is `sure` of these codes."""
    rest = (1 - sure) / (count - 1)
    lessons = [[sure if code == k else rest for k in range(count)] for code in codes]
    return rows.with_columns(lesson=pl.Series(lessons, dtype=pl.List(pl.Float64)))


def logistic(folder: Path, train: pl.DataFrame, teacher: dict | None = None, **linear) -> pl.DataFrame:
    folder.mkdir(parents=True)
    spec = {"task": "t", "kind": "classification", "labels": LABELS, "seed": 1, "linear": LINEAR | linear}
    spec = loads(json.dumps(spec | ({"teacher": teacher} if teacher else {})))
    (folder / "spec.json").write_text(json.dumps(spec))
    fit_logistic(spec, train, texts(12), folder, folder, folder)
    return load_logistic(folder, folder, Params()).predict(texts(9))


def test_a_linear_model_learns_a_label_that_only_its_teacher_knows(tmp_path):
    labelled, more = texts(12).filter(pl.col("label") != "退款"), texts(12, known=False)
    train = told(pl.concat([labelled, more]), [LABELS.index(one) for one in labelled["label"]] + [0, 1, 2] * 4, 3)
    assert logistic(tmp_path / "taught", train, TEACHER)["label"].to_list() == LABELS * 3
    assert "退款" not in logistic(tmp_path / "alone", labelled)["label"].to_list()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_teacher_that_says_what_the_labels_say_changes_nothing(tmp_path, class_weights):
    rows = texts(30).filter(pl.col("label").ne("退款") | pl.col("id").str.ends_with("2"))
    same = told(rows, [LABELS.index(one) for one in rows["label"]], 3, sure=1.0)
    found = logistic(tmp_path / "taught", same, TEACHER | {"weight": 0.5 if class_weights == "none" else 1e-9},
                     class_weights=class_weights)  # fmt: skip
    alone = logistic(tmp_path / "alone", rows, class_weights=class_weights)
    columns = ["prob_0", "prob_1", "prob_2"]
    np.testing.assert_allclose(found.select(columns).to_numpy(), alone.select(columns).to_numpy(), atol=2e-3)


def test_a_ridge_is_fitted_to_expected_scores(tmp_path):
    rows = [("好" * n + "坏" * (9 - n), n + 1) for n in range(10)]
    train = pl.DataFrame({"id": [str(n) for n in range(10)], "document": [text for text, _ in rows], "dimension": "x",
                          "score": [score for _, score in rows]})  # fmt: skip
    dev = train
    spec = {"kind": "scoring", "learner": "linear", "scores": [1, 10], "dimensions": {"x": "x"}, "linear": LINEAR}

    def fitted(name: str, rows: pl.DataFrame, teacher: dict | None) -> np.ndarray:
        out = tmp_path / name
        out.mkdir()
        whole = loads(json.dumps(spec | ({"teacher": teacher} if teacher else {})))
        (out / "spec.json").write_text(json.dumps(whole))
        learners.fit(whole, rows, dev, out, out, out)
        return learners.load(whole, out, out, Params()).predict(dev)["score"].to_numpy()

    opposite = train.with_columns(lesson=pl.concat_list(11.0 - pl.col("score")))
    mixed = train.with_columns(score=0.25 * pl.col("score") + 0.75 * (11 - pl.col("score")))
    found = fitted("taught", opposite, {"model": "wise", "weight": 0.75})
    np.testing.assert_allclose(found, fitted("mixed", mixed, None), atol=1e-5)
    assert np.corrcoef(found, train["score"].to_numpy())[0, 1] < -0.9
    unlabelled = opposite.with_columns(score=pl.lit(None, pl.Int64))
    alone = fitted("unlabelled", unlabelled, {"model": "wise", "weight": 0.75})
    assert np.corrcoef(alone, train["score"].to_numpy())[0, 1] < -0.9


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["encoder", "embedder"])
def test_a_pair_model_learns_from_its_teacher_and_the_same_bytes_again(tmp_path, base, learner):
    rows = pairs(64)
    labelled = rows.head(16)
    more = rows.tail(48).with_columns(label=pl.lit(None, rows.schema["label"]))
    train = told(pl.concat([labelled, more]), rows["label"].to_list(), 2)
    spec = encoder_fit.spec_of(epochs=4) | {"teacher": Params(TEACHER | {"weight": 0.7, "temperature": 2.0})}
    out, record = encoder_fit.fit(learner, base, tmp_path / "a", Params(spec), train)
    again, _ = encoder_fit.fit(learner, base, tmp_path / "b", Params(spec), train)
    files = [file.name for file in out.glob("*.safetensors")]
    assert files
    assert all((out / name).read_bytes() == (again / name).read_bytes() for name in files)
    against = told(train.drop("lesson"), [1 - one for one in rows["label"]], 2)
    other, worse = encoder_fit.fit(learner, base, tmp_path / "c", Params(spec), against)
    assert any((out / name).read_bytes() != (other / name).read_bytes() for name in files)
    best = max(entry["eval_auc"] for entry in record.history if "eval_auc" in entry)
    assert best > max(entry["eval_auc"] for entry in worse.history if "eval_auc" in entry) - 0.02
    assert record.resources["rows"] == 64


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["encoder", "embedder"])
def test_a_ranking_model_learns_the_order_that_its_teacher_gives(tmp_path, base, learner):
    rows = ranking_fit.judged(24)
    labelled = rows.filter(pl.col("group").is_in(["g0", "g1"]))
    more = rows.filter(~pl.col("group").is_in(["g0", "g1"]))
    more = more.with_columns(relevance=pl.lit(None, pl.Float64), weight=pl.lit(None, pl.Float64))
    by_id = dict(zip(rows["id"], rows["relevance"], strict=True))

    def correlation(name: str, sign: float) -> float:
        train = pl.concat([labelled, more])
        lessons = [[0.5 + sign * (by_id[one] - 0.5)] for one in train["id"]]
        train = train.with_columns(lesson=pl.Series(lessons, dtype=pl.List(pl.Float64)))
        spec = ranking_fit.spec_of(learner, epochs=12) | {"teacher": Params(model="wise", weight=0.9)}
        out, _ = ranking_fit.fit(Params(spec), base, tmp_path / name, train)
        found = ranking_fit.load(learner, out).predict(rows)["score"].to_numpy()
        return float(np.corrcoef(found, rows["relevance"].to_numpy())[0, 1])

    assert correlation("right", 1.0) > correlation("wrong", -1.0) + 0.1
