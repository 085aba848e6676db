"""Learner `linear`: TF-IDF over character n-grams and a logistic regression, the baseline of every task.

Two texts become one feature vector: |a - b| says what differs, a * b what is shared (n-grams of two L2-normalised
TF-IDF vectors), and their cosine and its square how much. Saved as arrays in safetensors, so that loading a model
executes nothing.
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
from sklearn.metrics import roc_auc_score

from retune.history import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")


class Predictor:
    """A fitted model; `predict` gives a row per input row, in its order."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: np.ndarray, bias: float) -> None:
        self.vectorizer, self.weights, self.bias = vectorizer, weights, bias

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0, prob_1, truncated for the pairs of `frame`."""
        logits = features(self.vectorizer, frame) @ self.weights + self.bias
        positive = 1 / (1 + np.exp(-logits))
        negative = 1 / (1 + np.exp(logits))
        return frame.select(
            "id",
            label=pl.Series(positive > negative, dtype=pl.Int8),
            prob_0=pl.Series(negative),
            prob_1=pl.Series(positive),
            truncated=pl.lit(False),
        )


def features(vectorizer: TfidfVectorizer, frame: pl.DataFrame) -> Any:
    """The sparse matrix [rows, 2 * n-grams + 2] of |a - b|, a * b, the cosine and its square."""
    a, b = (vectorizer.transform(frame[column].to_list()) for column in ("text_a", "text_b"))
    shared = a.multiply(b)
    cosine = sparse.csr_matrix(shared.sum(axis=1))
    return sparse.hstack([abs(a - b), shared, cosine, cosine.power(2)], format="csr")


def vectorizer_of(ngrams: list[int], min_df: int, vocabulary: dict[str, int] | None = None) -> TfidfVectorizer:
    """Character n-grams; a given vocabulary is kept."""
    return TfidfVectorizer(analyzer="char", ngram_range=tuple(ngrams), min_df=min_df, vocabulary=vocabulary)


def fit(spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path) -> Training:
    """Fit on `train`, report the AUC on `dev`, and write weights and vocabulary into `out`."""
    start = time.monotonic()
    options = spec.linear
    vectorizer = vectorizer_of(options.ngrams, options.min_df)
    vectorizer.fit([*train["text_a"], *train["text_b"]])
    regression = LogisticRegression(
        C=options.c,
        class_weight="balanced" if options.class_weights == "balanced" else None,
        solver="liblinear",
        random_state=spec.seed,
    )
    regression.fit(features(vectorizer, train), train["label"].to_numpy())
    predictor = Predictor(vectorizer, regression.coef_[0], float(regression.intercept_[0]))

    grams = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    (out / "vocabulary.json").write_text(json.dumps(grams, ensure_ascii=False), encoding="utf-8")
    arrays = {"weights": predictor.weights, "bias": np.array([predictor.bias]), "idf": vectorizer.idf_}
    save_file(arrays, out / "model.safetensors")

    auc = float(roc_auc_score(dev["label"], predictor.predict(dev)["prob_1"]))
    log.info("%d n-grams, %d training rows, dev AUC %.3f", len(grams), len(train), auc)
    seconds = time.monotonic() - start
    return Training(
        history=[{"step": 1, "eval_auc": auc}],
        resources={"seconds": seconds, "rows": len(train), "device": "cpu", "parameters_trained": 2 * len(grams) + 3},
    )


def load(model_dir: Path, base: Path, hardware: Params) -> Predictor:
    """Read what `fit` wrote."""
    spec = json.loads((model_dir / "spec.json").read_text(encoding="utf-8"))
    grams = json.loads((model_dir / "vocabulary.json").read_text(encoding="utf-8"))
    arrays = load_file(model_dir / "model.safetensors")
    vectorizer = vectorizer_of(spec["linear"]["ngrams"], 1, {gram: index for index, gram in enumerate(grams)})
    vectorizer.idf_ = arrays["idf"]
    return Predictor(vectorizer, arrays["weights"], float(arrays["bias"][0]))
