"""Compare the speed of encoding texts: `retune.encoders.bi_encoder` and `SentenceTransformer.encode` at batch 32.

    python benchmarks/encode.py --model models/retrieval_embedder
    python benchmarks/encode.py --model models/retrieval_embedder --onnx exports/embedder_onnx exports/embedder_int8

Both open the same saved embedder and encode the same documents, of 20 to 500 characters in random order, as one would
call them: SentenceTransformer in its own dtype (float32), Retune in the one that it chooses for this machine, or in
`--dtype`; `--onnx` adds exported folders of the same model, run by onnxruntime in Retune's batches. Prints for each the
rows per second and per second of processor time, which other programs of the machine change less (medians of `--repeat`
runs, in turn), and how far its vectors are from those of SentenceTransformer.
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

from retune import exports
from retune.encoders import bi_encoder, tokens, transformer
from retune.exports.folder import read_card
from retune.learners.retriever.predict import Retriever
from retune.params import Params
from retune.sources.samples import retrieval
from retune.training import hardware

LONGEST = 500  # characters


def main() -> None:
    """Encode, check that the vectors are the same, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained embedder of kind ranking")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--texts", type=Path, help="a file with a text a line, in the place of the documents")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--onnx", type=Path, nargs="*", default=[], help="folders of its exports with `onnx:`")
    parser.add_argument("--dtype", default="auto", help="of Retune: auto, float32, bfloat16")
    options = parser.parse_args()
    texts = documents(options.rows)
    if options.texts:
        texts = options.texts.read_text(encoding="utf-8").splitlines()[: options.rows]
    name = f"Retune, {options.dtype}"
    methods = {"SentenceTransformer.encode": theirs(options.model), name: ours(options.model, options.dtype)}
    for folder in options.onnx:
        methods[f"ONNX, {read_card(folder).dtype}"] = by_graph(folder)
    vectors = {name: encode(texts[:64]) for name, encode in methods.items()}  # the first call is slow
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(options.repeat):
        for name, encode in methods.items():
            start, used = time.perf_counter(), time.process_time()
            vectors[name] = encode(texts)
            seconds[name].append((time.perf_counter() - start, time.process_time() - used))
    first = unit(vectors["SentenceTransformer.encode"])
    print(f"{len(texts)} texts, {torch.get_num_threads()} threads\n")
    print("| | rows a second | rows a second of processor time | ratio | largest cosine distance |")
    print("|:--|--:|--:|--:|--:|")
    first_rate = 0.0
    for name, times in seconds.items():
        wall, processor = (len(texts) / statistics.median(column) for column in zip(*times, strict=True))
        first_rate = first_rate or processor
        distance = float((1 - (first * unit(vectors[name])).sum(-1)).max())
        print(f"| {name} | {wall:.1f} | {processor:.1f} | {processor / first_rate:.2f} | {max(distance, 0.0):.1e} |")


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1, in float64."""
    exact = vectors.astype(np.float64)
    scaled: np.ndarray = exact / np.linalg.norm(exact, axis=-1, keepdims=True)
    return scaled


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
    return encoding(Retriever(loaded, tokenizer, options["prefixes"], options["max_length"], chosen))


def by_graph(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """As `retune.load` embeds with an export."""
    return encoding(exports.load(folder, read_card(folder), Params(threads=0)))


def encoding(retriever: Any) -> Callable[[list[str]], np.ndarray]:
    """Documents to vectors, in Retune's batches."""

    def encode(texts: list[str]) -> np.ndarray:
        given = [retriever.prefixes["document"] + text for text in texts]
        encoded = tokens.encode(retriever.tokenizer, given, None, retriever.max_length)
        pad_id = int(retriever.tokenizer.pad_token_id)
        return np.asarray(bi_encoder.vectors(retriever.model, encoded, pad_id, retriever.chosen))

    return encode


if __name__ == "__main__":
    main()
