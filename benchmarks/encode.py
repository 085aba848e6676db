"""Compare the speed of encoding texts: `retune.encoders.bi_encoder` and `SentenceTransformer.encode` at batch 32.

    python benchmarks/encode.py --model models/retrieval_embedder

Both open the same saved embedder and encode the same documents, of 20 to 500 characters in random order, as one would
call them: SentenceTransformer in its own dtype (float32), Retune in the one that it chooses for this machine, or in
`--dtype`. Prints rows per second (the median of `--repeat` runs, in turn), their ratio, and how far vectors differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from retune.encoders import bi_encoder, tokens, transformer
from retune.params import Params
from retune.sources.samples import retrieval
from retune.training import hardware

LONGEST = 500  # characters


def main() -> None:
    """Encode, check that the vectors are the same, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained embedder of kind ranking")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dtype", default="auto", help="of Retune: auto, float32, bfloat16")
    options = parser.parse_args()
    texts = documents(options.rows)
    methods = {"SentenceTransformer.encode": theirs(options.model), "Retune": ours(options.model, options.dtype)}
    vectors = {name: encode(texts[:64]) for name, encode in methods.items()}  # the first call is slow
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(options.repeat):
        for name, encode in methods.items():
            start = time.perf_counter()
            vectors[name] = encode(texts)
            seconds[name].append(time.perf_counter() - start)
    first, second = vectors.values()
    distance = 1 - (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
    rates = {name: len(texts) / statistics.median(times) for name, times in seconds.items()}
    print(f"{len(texts)} documents, {torch.get_num_threads()} threads\n")
    print("| | rows per second |\n|:--|--:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.1f} |")
    print(f"\nratio {rates['Retune'] / rates['SentenceTransformer.encode']:.2f}, ", end="")
    print(f"largest cosine distance {distance.max():.1e}")


def documents(rows: int) -> list[str]:
    """Passages of the sample corpus, alone or several in a row, in random order."""
    random = np.random.default_rng(0)
    passages = [text for topic in retrieval.read_topics(retrieval.FILES).values() for text in topic.passages.values()]
    texts = []
    for _ in range(rows):
        count = int(np.ceil(random.exponential(2.0)))
        texts.append("".join(random.choice(passages, count))[:LONGEST])
    return texts


def theirs(model: Path) -> Callable[[list[str]], np.ndarray]:
    """As most people call it: batches of 32."""
    opened: Any = SentenceTransformer(str(model))
    return lambda texts: np.asarray(opened.encode_document(texts, batch_size=32, show_progress_bar=False))


def ours(model: Path, dtype: str) -> Callable[[list[str]], np.ndarray]:
    """As the learner `embedder` predicts."""
    chosen = hardware.choose(Params(device="auto", dtype=dtype, attention="auto", threads=0))
    options = json.loads((model / "embedder.json").read_text(encoding="utf-8"))
    tokenizer = tokens.tokenizer_of(model)
    loaded = bi_encoder.BiEncoder(transformer.load(model, chosen), options["pooling"]).to(chosen.device).eval()
    prefix, limit = options["prefixes"]["document"], options["max_length"]

    def encode(texts: list[str]) -> np.ndarray:
        encoded = tokens.encode(tokenizer, [prefix + text for text in texts], None, limit)
        return np.asarray(bi_encoder.vectors(loaded, encoded, int(tokenizer.pad_token_id), chosen))

    return encode


if __name__ == "__main__":
    main()
