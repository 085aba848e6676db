"""The linear baseline: learns, saves without code, and loads to the same predictions."""

import json

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.learners.tfidf_logistic.predict import load as load_logistic
from retune.params import loads

SPEC = {
    "seed": 1,
    "kind": "pair",
    "labels": ["0", "1"],
    "linear": {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 10.0, "class_weights": "none"},
}


def pairs(n=200, seed=0):
    rng = np.random.default_rng(seed)
    words = ["还款", "额度", "退款", "提现"]
    rows = []
    for i in range(n):
        a = rng.integers(4)
        b = a if rng.random() < 0.5 else rng.integers(4)
        rows.append((str(i), f"怎么{words[a]}", f"如何{words[b]}呢", int(a == b)))
    return pl.DataFrame(rows, schema=["id", "text_a", "text_b", "label"], orient="row")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    return tmp_path


def test_it_learns_what_is_shared_and_what_differs(folder):
    training = fit_logistic(loads(json.dumps(SPEC)), pairs(), pairs(seed=1), folder, folder, folder)
    assert training.history[-1]["eval_auc"] > 0.95


def test_a_loaded_model_predicts_row_by_row_what_the_fit_saw(folder):
    fit_logistic(loads(json.dumps(SPEC)), pairs(), pairs(seed=1), folder, folder, folder)
    predictor = load_logistic(folder, folder, None)
    frame = pairs(seed=2)
    whole = predictor.predict(frame)
    assert whole["id"].to_list() == frame["id"].to_list()
    assert np.allclose(whole["prob_0"] + whole["prob_1"], 1)
    assert whole["label"].to_list() == (whole["prob_1"] > 0.5).cast(pl.Int8).cast(pl.String).to_list()
    one = predictor.predict(frame[7:8])
    assert one["prob_1"][0] == pytest.approx(whole["prob_1"][7], abs=1e-12)


def test_unseen_characters_are_not_an_error(folder):
    fit_logistic(loads(json.dumps(SPEC)), pairs(), pairs(seed=1), folder, folder, folder)
    frame = pl.DataFrame({"id": ["x"], "text_a": ["🙂"], "text_b": ["ok"]})
    assert 0 < load_logistic(folder, folder, None).predict(frame)["prob_1"][0] < 1


def test_the_number_of_threads_changes_no_byte_of_a_model(tmp_path):
    rng = np.random.default_rng(5)
    signs = [chr(0x4E00 + number) for number in range(400)]
    texts = ["".join(rng.choice(signs, 20)) for _ in range(300)]
    rows = pl.DataFrame({"id": [str(i) for i in range(300)], "text": texts, "label": [str(i % 12) for i in range(300)]})
    labels = [str(number) for number in range(12)]
    spec = SPEC | {"kind": "classification", "labels": labels, "linear": SPEC["linear"] | {"c": 1.0}}
    found = []
    for threads in (1, 2):
        out = tmp_path / str(threads)
        out.mkdir()
        with threadpool_limits(limits=threads, user_api="blas"):
            fit_logistic(loads(json.dumps(spec)), rows, rows[:60], out, out, out)
        found.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert found[0] == found[1]
