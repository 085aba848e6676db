"""Embedders as folders of SentenceTransformer: of kind pair and of kind ranking.

Of pairs, scale and bias, which make a cosine a log-odds, stand in export.json with the temperature taken in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from safetensors.torch import load_file, save_file

from retune.encoders import sentence_transformers_folder, tokens
from retune.exports import weights
from retune.exports.protocol import Built, Exported, decided
from retune.learners.pair_embedder import predict as pair_embedder
from retune.learners.retriever import predict as retriever
from retune.training import positions

if TYPE_CHECKING:
    from retune.params import Params

QUERY = "query"


def write(built: Built, out: Path) -> Exported:
    """Write the folder; see the head of this file."""
    kept: dict[str, Any] = json.loads((built.folder / "embedder.json").read_text(encoding="utf-8"))
    model, tokenizer = weights.encoder(built.folder), tokens.tokenizer_of(built.folder)
    max_length = positions.within(built.folder, kept["max_length"])
    pair = built.spec.kind == "pair"
    prefixes = dict.fromkeys((QUERY, "document"), kept["query_prefix"]) if pair else kept["prefixes"]
    sentence_transformers_folder.embedder(
        model, tokenizer, kept["pooling"], prefixes, max_length, out, QUERY if pair else None
    )
    weights.without_pooler(model, out)
    weights.keep(out / "embedder.json", **kept | {"max_length": max_length})
    library, use = "sentence-transformers", ["from sentence_transformers import SentenceTransformer", ""]
    use += ['model = SentenceTransformer(".")']
    if not pair:
        use += ['query = model.encode_query("a query")']
        use += ['documents = model.encode_document(["a document", "another document"])']
        use += ["scores = model.similarity(query, documents)"]
        return Exported(
            "sentence-transformer", "sentence_transformer_ranking", library, "sentence-similarity", use, built.fitted
        )
    temperature = built.fitted["temperature"]
    head = {name: value / temperature for name, value in load_file(built.folder / "head.safetensors").items()}
    save_file(head, out / "head.safetensors")
    scale, bias = (float(head[name].item()) for name in ("scale", "bias"))
    use = ["import math", "", *use, 'one, other = model.encode(["one text", "another"])']
    use += ["cosine = model.similarity(one, other).item()"]
    odds = f"{scale:.9g} * cosine {'-' if bias < 0 else '+'} {abs(bias):.9g}"
    use += [f"probability = 1 / (1 + math.exp(-({odds})))", *decided(built)]
    fitted = built.fitted | {"temperature": 1.0, "temperature_in_weights": temperature}
    more = {"log_odds": {"scale": scale, "bias": bias}}
    return Exported(
        "sentence-transformer", "sentence_transformer_pair", library, "sentence-similarity", use, fitted, more
    )


def load(folder: Path, card: Params, hardware: Params) -> pair_embedder.CosineClassifier | retriever.Retriever:
    """Read what `write` wrote."""
    learner = pair_embedder if card.spec.kind == "pair" else retriever
    return learner.load(folder, folder, hardware)


def token_ids(predictor: Any, rows: pl.DataFrame) -> list[list[int]]:
    """Token ids of both texts of each row, one after the other."""
    prefixes = getattr(predictor, "prefixes", None)
    columns = tuple(prefixes or ("text_a", "text_b"))
    sides = [
        tokens.encode(
            predictor.tokenizer,
            [(prefixes[column] if prefixes else predictor.prefix) + text for text in rows[column]],
            None,
            predictor.max_length,
        )
        for column in columns
    ]
    return [[*first.ids, *second.ids] for first, second in zip(*sides, strict=True)]
