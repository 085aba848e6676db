"""What the learners `linear` on TF-IDF share: character n-grams, a linear layer over them, and its folder.

Saved as arrays in safetensors, so that loading a model executes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer

if TYPE_CHECKING:
    from retune.params import Params


@dataclass(frozen=True)
class Linear:
    """`weights` [features, outputs] and `bias` [outputs] over the n-grams of a text, or over what is made of them."""

    vectorizer: TfidfVectorizer
    weights: np.ndarray
    bias: np.ndarray


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


def save(linear: Linear, out: Path) -> None:
    """Write weights and vocabulary into `out`."""
    places = linear.vectorizer.vocabulary_
    grams = sorted(places, key=places.__getitem__)
    (out / "vocabulary.json").write_text(json.dumps(grams, ensure_ascii=False), encoding="utf-8")
    arrays = {"weights": linear.weights, "bias": linear.bias, "idf": linear.vectorizer.idf_}
    save_file(arrays, out / "model.safetensors")


def load(folder: Path, spec: Params) -> Linear:
    """Read what `save` wrote."""
    grams = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    arrays = load_file(folder / "model.safetensors")
    vectorizer = vectorizer_of(spec, {gram: index for index, gram in enumerate(grams)})
    vectorizer.idf_ = arrays["idf"]
    return Linear(vectorizer, arrays["weights"], arrays["bias"])
