"""What the learners `linear` on TF-IDF share: n-grams of characters and words, a linear layer over them, its folder.

Saved as arrays in safetensors, so that loading a model executes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

if TYPE_CHECKING:
    from retune.params import Params

IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = rf"[{IDEOGRAPHS}]|[^\W{IDEOGRAPHS}]+"
"""A word: letters and digits in a row; in scripts without spaces a character, so that pairs of words are pairs of
characters."""

WORDS = (1, 2)
"""Shortest and longest n-gram of words."""


@dataclass(frozen=True)
class Linear:
    """`weights` [features, outputs] and `bias` [outputs] over the n-grams of a text, or over what is made of them.

    `vectorizers`: `char`, `word` or both, in the order of the features.
    """

    vectorizers: Mapping[str, TfidfVectorizer]
    weights: np.ndarray
    bias: np.ndarray

    def vectors(self, texts: Sequence[str]) -> Any:
        """The sparse matrix [texts, n-grams] of length-1 vectors."""
        return joined([vectorizer.transform(texts) for vectorizer in self.vectorizers.values()])


def joined(parts: Sequence[Any]) -> Any:
    """The vectors of one sort of n-grams, or of both sorts beside each other, each with the same weight; length 1."""
    return parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csr") / len(parts) ** 0.5


def vectorizer_of(spec: Params, unit: str, min_df: int = 1, vocabulary: dict[str, int] | None = None) -> Any:
    """N-grams of a `unit`, `char` or `word`, that stand in `min_df` texts; a given vocabulary is kept."""
    return TfidfVectorizer(
        analyzer=unit,
        ngram_range=WORDS if unit == "word" else tuple(spec.linear.ngrams),
        token_pattern=WORD if unit == "word" else None,
        min_df=min_df,
        vocabulary=vocabulary,
        sublinear_tf=spec.kind == "classification",
    )


def save(linear: Linear, out: Path) -> None:
    """Write weights and vocabularies into `out`."""
    grams = {}
    arrays = {"weights": np.ascontiguousarray(linear.weights), "bias": linear.bias}
    for unit, vectorizer in linear.vectorizers.items():
        places = vectorizer.vocabulary_
        grams[unit] = sorted(places, key=places.__getitem__)
        arrays[f"idf.{unit}"] = vectorizer.idf_
    (out / "vocabulary.json").write_text(json.dumps(grams, ensure_ascii=False), encoding="utf-8")
    save_file(arrays, out / "model.safetensors")


def load(folder: Path, spec: Params) -> Linear:
    """Read what `save` wrote."""
    arrays = load_file(folder / "model.safetensors")
    vectorizers = {}
    for unit, grams in json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")).items():
        vectorizers[unit] = vectorizer_of(spec, unit, vocabulary={gram: index for index, gram in enumerate(grams)})
        vectorizers[unit].idf_ = arrays[f"idf.{unit}"]
    return Linear(vectorizers, arrays["weights"], arrays["bias"])
