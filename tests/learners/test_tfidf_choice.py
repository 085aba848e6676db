"""The linear baseline's n-grams and penalty: chosen on dev, against plain scikit-learn; texts too few or too short."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, log_loss, mean_absolute_error, roc_auc_score

from retune.errors import RetuneError
from retune.learners import tfidf, tfidf_choice
from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.learners.tfidf_logistic.predict import load as load_logistic
from retune.learners.tfidf_ridge.fit import fit as fit_ridge
from retune.params import Params, loads

VALUES = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
WORDS = ["refund", "invoice", "login", "password", "delivery", "address", "cancel", "order"]


def spec_of(kind: str, **linear) -> Params:
    options = {"analyzer": "auto", "ngrams": [1, 3], "min_df": 2, "c": VALUES, "class_weights": "none", **linear}
    spec = {"seed": 1, "kind": kind, "linear": options}
    spec |= {"scores": [1, 10], "dimensions": {"growth": "growth"}} if kind == "scoring" else {"labels": ["0", "1"]}
    if kind == "classification":
        spec["labels"] = ["a", "b", "c"]
    return loads(json.dumps(spec))


def sentences(rows: int, seed: int) -> pl.DataFrame:
    """Texts of some words with a label that two of them decide, a fifth of them wrong."""
    random = np.random.default_rng(seed)
    table = []
    for number in range(rows):
        words = [WORDS[i] for i in random.permutation(len(WORDS))[:4]]
        label = "a" if "refund" in words and "order" in words else "b" if "login" in words else "c"
        if random.random() < 0.2:
            label = "abc"[random.integers(3)]
        table.append((f"{seed}-{number}", " ".join(words), label))
    return pl.DataFrame(table, schema=["id", "text", "label"], orient="row")


def pairs(rows: int, seed: int) -> pl.DataFrame:
    left, right = sentences(rows, seed), sentences(rows, seed + 1000)
    overlap = [len(set(a.split()) & set(b.split())) for a, b in zip(left["text"], right["text"], strict=True)]
    return pl.DataFrame(
        {"id": left["id"], "text_a": left["text"], "text_b": right["text"], "label": [int(n >= 2) for n in overlap]}
    )


def documents(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    table = sentences(rows, seed).select("id", document="text", dimension=pl.lit("growth"))
    level = [4 + 3 * ("refund" in text) - 2 * ("login" in text) for text in table["document"]]
    return table.with_columns(score=pl.Series(np.clip(np.round(level + random.normal(0, 1, rows)), 1, 10)))


def fit(learner, spec: Params, train: pl.DataFrame, dev: pl.DataFrame, folder: Path):
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    return learner(spec, train, dev, folder, folder, folder)


def plain(spec: Params, unit: str, texts: list[str]) -> TfidfVectorizer:
    """The n-grams as scikit-learn's documentation would have them."""
    options = {"ngram_range": (1, 2), "token_pattern": r"\w+"} if unit == "word" else {"ngram_range": (1, 3)}
    return TfidfVectorizer(analyzer=unit, min_df=2, sublinear_tf=spec.kind == "classification", **options).fit(texts)


def dense(spec: Params, units: list[str], train: pl.DataFrame, frame: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """The features of each row, one row after the other."""
    seen = [text for column in columns for text in train[column]]
    vectorizers = [plain(spec, unit, seen) for unit in units]
    rows = []
    for row in frame.to_dicts():
        parts = [
            np.concatenate([v.transform([row[column]]).toarray()[0] for v in vectorizers]) / len(units) ** 0.5
            for column in columns
        ]
        if len(parts) == 2:
            cosine = float(parts[0] @ parts[1])
            parts = [np.concatenate([abs(parts[0] - parts[1]), parts[0] * parts[1], [cosine, cosine**2]])]
        rows.append(parts[0])
    return np.array(rows)


UNITS = {"char": ["char"], "word": ["word"], "both": ["char", "word"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "rows", "columns"), [("classification", sentences, ["text"]), ("pair", pairs, ["text_a", "text_b"])]
)
def test_n_grams_and_penalty_are_those_with_which_scikit_learn_is_best_on_dev(kind, rows, columns, tmp_path):
    spec, train, dev, test = spec_of(kind), rows(150, 1), rows(120, 2), rows(50, 3)
    wanted, losses, answers = {}, {}, {}
    for analyzer, units in UNITS.items():
        features = [dense(spec, units, train, frame, columns) for frame in (train, dev, test)]
        for c in VALUES:
            model = LogisticRegression(C=c, tol=1e-9, max_iter=10_000).fit(features[0], train["label"])
            losses[analyzer, c] = log_loss(dev["label"], model.predict_proba(features[1]))
            answers[analyzer, c] = model.predict_proba(features[2])
            if kind == "pair":
                value = roc_auc_score(dev["label"], model.predict_proba(features[1])[:, 1])
            else:
                value = f1_score(dev["label"], model.predict(features[1]), average="macro")
            wanted[analyzer, c] = value
    top = max(wanted.values())
    error = (top * (1 - top) / len(dev)) ** 0.5
    if kind == "pair":
        ones = int(dev["label"].sum())
        error = ((len(dev) + 1) / (12 * ones * (len(dev) - ones))) ** 0.5
    close = [key for key in wanted if wanted[key] >= top - error]
    analyzer, c = min(close, key=losses.__getitem__)
    assert 1 < len(close) < len(wanted), "a case in which both rules decide something"
    training = fit(fit_logistic, spec, train, dev, tmp_path)
    said = training.messages[0]
    metric = "auc" if kind == "pair" else "macro_f1"
    assert said.startswith(f"Chosen by dev {metric}: linear.analyzer {analyzer}, linear.c {c:g} (")
    for part in said.split(": ")[2].split("; "):
        name, _, entries = part.partition(" ")
        for entry in entries.rstrip(".").split(", "):
            tried, value, loss = map(float, entry.split())
            assert value == pytest.approx(wanted[name, tried], abs=0.02), (name, tried)
            assert loss == pytest.approx(losses[name, tried], abs=0.01), (name, tried)
    assert training.history[-1][f"eval_{metric}"] == pytest.approx(wanted[analyzer, c], abs=0.01)
    found = load_logistic(tmp_path, tmp_path, Params()).predict(test)
    columns = [f"prob_{code}" for code in range(len(spec.labels))]
    assert found.select(columns).to_numpy() == pytest.approx(answers[analyzer, c], abs=0.02)


@pytest.mark.slow
def test_a_weak_penalty_over_many_rows_is_fitted_to_its_end_and_not_left_at_the_weights_of_the_one_before(tmp_path):
    spec = spec_of("classification", analyzer="char", c=[30.0, 300.0])
    train, dev = sentences(3000, 1), sentences(100, 2)
    training = fit(fit_logistic, spec, train, dev, tmp_path)
    vectorizer = plain(spec, "char", train["text"].to_list())
    rows, measured = (vectorizer.transform(frame["text"].to_list()) for frame in (train, dev))
    model = LogisticRegression(C=300.0, tol=1e-6, max_iter=10_000).fit(rows, train["label"])
    loss = log_loss(dev["label"], model.predict_proba(measured))
    assert float(training.messages[0].split()[-1].rstrip(".")) == pytest.approx(loss, abs=0.015)


def test_the_ridge_penalty_is_the_best_on_dev(tmp_path):
    spec, train, dev = spec_of("scoring", analyzer="char"), documents(80, 1), documents(60, 2)
    features = [
        dense(spec, ["char"], train.unique("document", maintain_order=True), f, ["document"]) for f in (train, dev)
    ]
    errors = {}
    for c in VALUES:
        model = Ridge(alpha=1 / c).fit(features[0], train["score"])
        errors[c] = mean_absolute_error(dev["score"], np.clip(model.predict(features[1]), 1, 10))
    best = min(VALUES, key=errors.__getitem__)
    training = fit(fit_ridge, spec, train, dev, tmp_path)
    assert f"linear.analyzer char, linear.c {best:g} ({errors[best]:.3f})" in training.messages[0]
    assert training.history[-1]["eval_mae"] == pytest.approx(errors[best], abs=1e-4)


def test_one_number_is_that_one_and_nothing_is_chosen(tmp_path):
    spec = spec_of("classification", analyzer="word", c=3.0)
    training = fit(fit_logistic, spec, sentences(100, 1), sentences(50, 2), tmp_path)
    assert training.messages == []
    features = dense(spec, ["word"], sentences(100, 1), sentences(20, 3), ["text"])
    model = LogisticRegression(C=3.0, tol=1e-9).fit(
        dense(spec, ["word"], sentences(100, 1), sentences(100, 1), ["text"]), sentences(100, 1)["label"]
    )
    found = load_logistic(tmp_path, tmp_path, Params()).predict(sentences(20, 3))
    assert found.select("prob_0", "prob_1", "prob_2").to_numpy() == pytest.approx(
        model.predict_proba(features), abs=0.01
    )


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        fit(fit_logistic, spec_of("pair"), pairs(80, 1), pairs(60, 2), tmp_path / name)
    for file in ("model.safetensors", "vocabulary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def attempt(analyzer: str, c: float, **metrics: float) -> tfidf_choice.Attempt:
    return tfidf_choice.Attempt(analyzer, c, (analyzer,), np.zeros((1, 1)), np.zeros(1), metrics)


def chosen(metric: str, scores: list[float], losses: list[float] | None = None, rows: int = 10**9):
    """The c that is taken, and how many values were tried, for these dev metrics of `VALUES`."""
    made = []

    def attempts(analyzer, units):
        for place, c in enumerate(VALUES):
            made.append(c)
            yield attempt(analyzer, c, **{metric: scores[place]}, **({"loss": losses[place]} if losses else {}))

    spec = spec_of("scoring", analyzer="char")
    found, said = tfidf_choice.best(spec, tfidf_choice.Ngrams({"char": None}, {}, []), metric, rows, attempts)
    assert said[0].partition(": char ")[2].count(", ") == len(made) - 1
    return found.c, len(made)


@pytest.mark.parametrize(
    ("metric", "scores", "wanted", "tried"),
    [
        ("macro_f1", [0.5, 0.7, 0.7, 0.7, 0.7, 0.7], 0.3, 6),  # equals: the strongest penalty
        ("macro_f1", [0.5, 0.7, 0.6, 0.5, 0.9, 0.9], 0.3, 4),  # two worse ones end it
        ("macro_f1", [0.5, 0.7, 0.6, 0.8, 0.7, 0.9], 30.0, 6),
        ("mae", [3.0, 2.0, 2.1, 2.2, 1.0, 1.0], 0.3, 4),
        ("mae", [3.0, 2.0, 1.5, 1.4, 1.0, 1.0], 10.0, 6),
    ],
)
def test_equals_go_to_the_stronger_penalty_and_two_worse_values_end_the_search(metric, scores, wanted, tried):
    assert chosen(metric, scores) == (wanted, tried)


def test_a_metric_that_wavers_while_the_loss_falls_ends_no_search():
    assert chosen("macro_f1", [0.02, 0.01, 0.01, 0.3, 0.5, 0.4], [3, 2.9, 2.8, 2, 1, 1.1]) == (10.0, 6)


def test_what_few_rows_cannot_tell_apart_is_decided_by_the_loss():
    scores, losses = [0.5, 0.80, 0.79, 0.78, 0.60, 0.60], [3, 2, 1.2, 1.1, 1.0, 1.0]
    assert chosen("macro_f1", scores, losses, rows=100)[0] == 3.0  # a standard error is 0.04
    assert chosen("macro_f1", scores, losses, rows=1000)[0] == 1.0  # 0.0126
    assert chosen("macro_f1", scores, losses)[0] == 0.3


def test_few_unlike_texts_are_learnt_with_a_warning(tmp_path):
    train = pl.DataFrame({"id": ["1", "2"], "text": ["xyz", "uvw"], "label": ["a", "b"]})
    training = fit(fit_logistic, spec_of("classification"), train, train, tmp_path)
    assert training.warnings[0].startswith("No n-gram stands in linear.min_df 2 of 2 training texts")
    assert load_logistic(tmp_path, tmp_path, Params()).predict(train)["label"].to_list() == ["a", "b"]


def test_texts_shorter_than_the_shortest_n_gram_are_refused_in_a_sentence(tmp_path):
    train = pl.DataFrame({"id": ["1", "2"], "text": ["xy", "uv"], "label": ["a", "b"]})
    with pytest.raises(
        RetuneError, match=r"none of the 2 training texts .*linear\.ngrams.* take a first length below 3"
    ):
        fit(fit_logistic, spec_of("classification", analyzer="char", ngrams=[3, 4]), train, train, tmp_path)


def test_words_of_scripts_without_spaces_are_characters():
    spec = spec_of("classification")
    words = tfidf.vectorizer_of(spec, "word").build_analyzer()
    assert words("怎么App登录") == ["怎", "么", "app", "登", "录", "怎 么", "么 app", "app 登", "登 录"]
