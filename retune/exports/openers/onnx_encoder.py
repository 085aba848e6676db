"""Labels or scores of encoders, embedders and rerankers, by onnxruntime and tokenizers alone (see the package)."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import load_file
from tokenizers import Tokenizer

folder, rows, out = map(Path, sys.argv[1:])
asked = json.loads(rows.read_text("utf-8"))


def settings(name: str) -> Any:
    """A JSON file of the folder."""
    return json.loads((folder / name).read_text("utf-8"))


tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(settings("tokenizer_config.json")["model_max_length"])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(folder / "onnx/model.onnx", options, providers=["CPUExecutionProvider"])
inputs = [one.name for one in session.get_inputs()]


def run(*texts: str) -> tuple[list[int], Any]:
    """Token ids, and the output of the graph [tokens, width] or [labels]; one input at a time, so without padding."""
    read = tokenizer.encode(*texts)
    given = {"input_ids": read.ids, "attention_mask": read.attention_mask, "token_type_ids": read.type_ids}
    (found,) = session.run(None, {name: np.array([given[name]], dtype=np.int64) for name in inputs})
    return read.ids, found[0]


def pooled(states: Any) -> Any:
    """One vector of the states of the tokens."""
    mean = settings("1_Pooling/config.json")["pooling_mode"] == "mean"
    return states.mean(axis=0) if mean else states[0]


def dense(states: Any) -> Any:
    """The linear layer behind the pooled vector."""
    weights = load_file(folder / "2_Dense/model.safetensors")
    return weights["linear.weight"] @ pooled(states) + weights["linear.bias"]


def softmax(logits: Any) -> list[float]:
    """Probabilities of logits."""
    raised = np.exp(logits.astype(np.float64) - logits.max())
    return (raised / raised.sum()).tolist()


def labels(texts: list[str]) -> tuple[list[int], list[float]]:
    """Token ids and the probabilities of the labels, in the order of export.json."""
    ids, found = run(*texts)
    logits = found if found.ndim == 1 else dense(found)
    places = settings("config.json")["label2id"]
    return ids, softmax(logits[[places[name] for name in card["spec"]["labels"]]])


def relevance(texts: list[str]) -> tuple[list[int], list[float]]:
    """Token ids and the score of a document for a query."""
    ids, states = run(*texts)
    return ids, [float(dense(states)[0])]


def similarity(row: dict[str, str]) -> tuple[list[int], list[float]]:
    """Token ids of both texts and their cosine, of a pair as probabilities."""
    said = settings("config_sentence_transformers.json")
    ids, vectors = [], []
    for side, text in row.items():
        prompt = said["prompts"][side if side in said["prompts"] else said["default_prompt_name"]]
        read, states = run(prompt + text)
        ids += read
        vector = pooled(states)
        vectors.append(vector / np.linalg.norm(vector))
    cosine = float(vectors[0] @ vectors[1])
    if "log_odds" not in card:
        return ids, [cosine]
    odds = card["log_odds"]["scale"] * cosine + card["log_odds"]["bias"]
    return ids, [1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))]


card = settings("export.json")
answer = {"classifier": labels, "reranker": relevance}.get(card["learner"])
found = [answer(list(row.values())) if answer else similarity(row) for row in asked]
out.write_text(json.dumps({"answers": [said for _, said in found], "tokens": [ids for ids, _ in found]}), "utf-8")
