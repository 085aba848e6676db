"""Two cheap views of a row, so that a row is doubted by what it is and not by one model's way to see it.

`ngrams` are the features of the learner `linear`; `embeddings` the frozen word embeddings of a base, averaged, which
know that different words mean alike. No network runs: a default build has seconds for this.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retune.learners import tfidf, tfidf_choice
from retune.learners.tfidf_logistic.features import features
from retune.params import Params

NGRAMS = Params(analyzer="char", ngrams=(1, 3), min_df=2)

DIMENSIONS = 96
"""Principal components of the embeddings of texts: so many rows as there are tell no more apart."""

NAMES = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight")
"""How the table of word embeddings is named in encoders and causal LMs."""

TYPES: dict[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


def ngrams(kind: str, texts: Sequence[Sequence[str]]) -> Any:
    """Sparse [rows, width] of the texts of a row, `texts` being one list for each."""
    found = tfidf_choice.ngrams(Params(kind=kind, linear=NGRAMS), [text for column in texts for text in column])
    whole = tfidf.joined(list(found.matrices.values()))
    rows = len(texts[0])
    return features([whole[place * rows : (place + 1) * rows] for place in range(len(texts))])


def embeddings(base: Path, texts: Sequence[Sequence[str]]) -> np.ndarray | None:
    """float64 [rows, width] of unit variance; None where the base has no tokenizer.json or no known table."""
    if not (base / "tokenizer.json").is_file() or (table := word_embeddings(base)) is None:
        return None
    every = [text for column in texts for text in column]
    means = _means(table, _tokens(base, every))
    means -= means.mean(axis=0)
    axes = np.linalg.eigh(means.T @ means)[1][:, ::-1][:, :DIMENSIONS]
    means = means @ axes
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    rows = len(texts[0])
    parts = [means[place * rows : (place + 1) * rows] for place in range(len(texts))]
    if len(parts) == 2:
        a, b = parts
        shared = a * b
        found = np.hstack([abs(a - b), shared, shared.sum(axis=1, keepdims=True)])
    else:
        found = parts[0]
    scaled: np.ndarray = (found - found.mean(axis=0)) / np.maximum(found.std(axis=0), 1e-6)
    return scaled


def word_embeddings(base: Path) -> np.ndarray | None:
    """The table [tokens, width] of a Hugging Face folder, not read but mapped: a text needs a few of its rows.

    bfloat16 comes as its bits, uint16.
    """
    for file in sorted(base.glob("*.safetensors")):
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
        for name, tensor in header.items():
            if name.endswith(NAMES) and tensor["dtype"] in TYPES:
                start = 8 + size + tensor["data_offsets"][0]
                return np.memmap(file, TYPES[tensor["dtype"]], mode="r", offset=start, shape=tuple(tensor["shape"]))
    return None


def _tokens(base: Path, texts: Sequence[str]) -> list[np.ndarray]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [np.array(one.ids, dtype=np.int64) for one in tokenizer.encode_batch(texts, add_special_tokens=False)]


def _means(table: np.ndarray, tokens: Sequence[np.ndarray]) -> np.ndarray:
    """The mean embedding [texts, width] of a text's tokens, a rare one counting more (inverse text frequency)."""
    from scipy import sparse

    lengths = [len(one) for one in tokens]
    ids, columns = np.unique(np.concatenate([*tokens, np.zeros(0, dtype=np.int64)]), return_inverse=True)
    rows = np.repeat(np.arange(len(tokens)), lengths)
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(tokens), len(ids)))
    weighted = counts.multiply(np.log((1 + len(tokens)) / (1 + counts.getnnz(axis=0))) + 0.3).tocsr()
    known = table[np.minimum(ids, len(table) - 1)]
    if known.dtype == np.uint16:  # bfloat16: the upper half of a float32
        known = (known.astype(np.uint32) << 16).view(np.float32)
    total = np.maximum(np.asarray(weighted.sum(axis=1)), 1e-9)
    means: np.ndarray = (weighted @ known.astype(np.float64)) / total
    return means
