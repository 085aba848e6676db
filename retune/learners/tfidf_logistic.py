"""Learner `linear`: TF-IDF over character n-grams and a logistic regression, the baseline of every labelled task.

A text is its L2-normalised TF-IDF vector. Two texts become one vector: |a - b| says what differs, a * b what is shared,
and their cosine and its square how much. Saved as arrays in safetensors, so that loading a model executes nothing.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from retune.data import kinds, labels
from retune.evaluation import dev_metrics
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: np.ndarray, bias: np.ndarray, spec: Params) -> None:
        self.vectorizer, self.weights, self.bias, self.spec = vectorizer, weights, bias, spec

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows of `frame`."""
        uncut = np.zeros(len(frame), dtype=bool)
        return labels.predictions(frame["id"], self.log_probs(frame), self.spec.labels, uncut)

    def log_probs(self, frame: pl.DataFrame) -> np.ndarray:
        """Log-probabilities of the labels, float64 [rows, labels]; `weights` is [features, labels], `bias` [labels]."""
        return labels.log_softmax(features(self.vectorizer, frame, self.spec) @ self.weights + self.bias)


def features(vectorizer: TfidfVectorizer, frame: pl.DataFrame, spec: Params) -> Any:
    """The sparse matrix [rows, n-grams] of a text, or [rows, 2 * n-grams + 2] of a pair: |a - b|, a * b, cosine, ..."""
    texts = [vectorizer.transform(frame[column].to_list()) for column in kinds.of(spec.kind).TEXTS]
    if len(texts) == 1:
        return texts[0]
    a, b = texts
    shared = a.multiply(b)
    cosine = sparse.csr_matrix(shared.sum(axis=1))
    return sparse.hstack([abs(a - b), shared, cosine, cosine.power(2)], format="csr")


def vectorizer_of(spec: Params, vocabulary: dict[str, int] | None = None) -> TfidfVectorizer:
    """Character n-grams; a given vocabulary is kept."""
    least = 1 if vocabulary else spec.linear.min_df
    return TfidfVectorizer(
        analyzer="char",
        ngram_range=tuple(spec.linear.ngrams),
        min_df=least,
        vocabulary=vocabulary,
        sublinear_tf=spec.kind == "classification",
    )


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, measure on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    options = spec.linear
    vectorizer = vectorizer_of(spec)
    vectorizer.fit([text for column in kinds.of(spec.kind).TEXTS for text in train[column]])
    regression = LogisticRegression(
        C=options.c,
        class_weight="balanced" if options.class_weights == "balanced" else None,
        solver="liblinear" if len(spec.labels) == 2 else "lbfgs",
        max_iter=1000,
        random_state=spec.seed,
    )
    codes = labels.codes(train["label"], spec.labels)
    regression.fit(features(vectorizer, train, spec), codes)
    weights, bias = of_every_label(regression, len(spec.labels))
    predictor = Predictor(vectorizer, weights, bias, spec)

    grams = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    (out / "vocabulary.json").write_text(json.dumps(grams, ensure_ascii=False), encoding="utf-8")
    save_file({"weights": weights, "bias": bias, "idf": vectorizer.idf_}, out / "model.safetensors")

    metrics = dev_metrics.of(spec.kind, labels.codes(dev["label"], spec.labels), predictor.log_probs(dev))
    primary = kinds.of(spec.kind).SELECT
    log.info("%d n-grams, %d training rows, dev %s %.3f", len(grams), len(train), primary, metrics[primary])
    problem = dev_metrics.collapse(metrics)
    seconds = time.monotonic() - start
    shown = {f"eval_{name}": value for name, value in metrics.items() if name in kinds.of(spec.kind).DEV_METRICS}
    fitted = regression.coef_.size + regression.intercept_.size
    return Training(
        history=[{"step": 1, **shown}],
        resources={"seconds": seconds, "rows": len(train), "device": "cpu", "parameters_trained": int(fitted)},
        messages=[problem] if problem else [],
    )


def of_every_label(regression: LogisticRegression, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [features, labels] and bias [labels] of a softmax; a label without a training row gets probability 0."""
    coefficients, intercept = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # one set of weights, for the log-odds of the second label
        coefficients = np.stack([np.zeros_like(coefficients[0]), coefficients[0]])
        intercept = np.array([0.0, float(intercept[0])])
    weights, bias = np.zeros((coefficients.shape[1], count)), np.full(count, -1e4)
    weights[:, regression.classes_], bias[regression.classes_] = coefficients.T, intercept
    return weights, bias


def load(model_dir: Path, base: Path, hardware: Params) -> Predictor:
    """Read what `fit` wrote and the stage's spec.json."""
    from retune import params

    spec = params.load(model_dir / "spec.json")
    grams = json.loads((model_dir / "vocabulary.json").read_text(encoding="utf-8"))
    arrays = load_file(model_dir / "model.safetensors")
    vectorizer = vectorizer_of(spec, {gram: index for index, gram in enumerate(grams)})
    vectorizer.idf_ = arrays["idf"]
    return Predictor(vectorizer, arrays["weights"], arrays["bias"], spec)
