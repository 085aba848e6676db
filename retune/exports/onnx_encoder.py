"""Encoders, embedders and rerankers as ONNX: the folder of their own form, with onnx/model.onnx for its weights.

The graph ends where sentence-transformers and optimum want it: in the states of the tokens, behind which pooling and a
linear layer follow from their own small files, or, of `*ForSequenceClassification`, in the logits.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from transformers.modeling_outputs import BaseModelOutputWithPooling

from retune.encoders import tokens
from retune.encoders.bi_encoder import BiEncoder
from retune.errors import RetuneError
from retune.exports import classifier, embedder, onnx_graph, quality, reranker
from retune.exports.folder import write_card
from retune.exports.protocol import PLAIN, Built, Exported
from retune.learners import package
from retune.learners.classifier.model import Classifier
from retune.learners.classifier.predict import EncoderClassifier
from retune.learners.pair_embedder.model import PairEmbedder
from retune.learners.pair_embedder.predict import CosineClassifier
from retune.learners.reranker.model import Reranker
from retune.learners.reranker.predict import EncoderReranker
from retune.learners.retriever.predict import Retriever
from retune.params import Params
from retune.training import hardware, positions, pretrained

if TYPE_CHECKING:
    from retune.learners.protocols import Predictor

FORM = "onnx"
STATES, LOGITS = "last_hidden_state", "logits"
TORCH = {"classifier": classifier, "pair_embedder": embedder, "retriever": embedder, "reranker": reranker}
"""Package of a learner -> the module that writes its folder with weights for torch."""

EXAMPLES = ["one text of some tokens", "another", "and a third, which is longer"]


def write(built: Built, out: Path) -> Exported:
    """Write the folder, with a graph in float32 (`quantise` makes it one of 8 bits, when that is proven).

    Raises `RetuneError` where a package is missing, and for an encoder whose pooler no ONNX loader expects.
    """
    onnx_graph.need()
    written = TORCH[package(built.spec)].write(built, out)
    output = LOGITS if written.form == "transformers" else STATES
    if written.more.get("reads", {}).get("pooling") == "pooler" and output == STATES:
        raise RetuneError(f"{built.name} has a pooler that is none of BERT's: leave out `onnx`")
    which: Any = AutoModelForSequenceClassification if output == LOGITS else AutoModel
    chosen = hardware.choose(PLAIN)  # its attention is plain products: the fused one tests for rows without a token
    model = pretrained.load(which, out, torch.float32, chosen)
    if output == STATES and getattr(model, "pooler", None) is not None:
        model.pooler = None
    read = tokens.tokenizer_of(out)(EXAMPLES, padding=True, return_tensors="pt")
    given = {name: read[name] for name in onnx_graph.INPUTS if name in read}
    onnx_graph.write(model, given, output, out / onnx_graph.FILE)
    (out / "model.safetensors").unlink()
    more = {**written.more, "reads": {**written.more.get("reads", {}), "output": output}}
    use = _use(output, written.use)
    return Exported(FORM, "onnx_encoder", "onnxruntime", written.tag, use, written.fitted, more)


def quantise(
    built: Built, exported: Exported, out: Path, rows: pl.DataFrame, found: dict[str, Any]
) -> tuple[Exported, dict[str, Any]]:
    """Give a folder weights of 8 bits, and measure what they cost (retune.exports.quality).

    `found` is the parity of the folder in float32, so what differs from here on is the rounding alone.
    """
    onnx_graph.quantise(out / onnx_graph.FILE)
    exported = replace(exported, dtype="int8")
    write_card(built, exported, out)
    return exported, quality.prove(built, out, rows, found)


def _use(output: str, with_torch: list[str]) -> list[str]:
    """By onnxruntime alone; and by the torch form's own loader, which opens a graph by optimum-onnx."""
    lines = ["import numpy as np, onnxruntime", "from tokenizers import Tokenizer", ""]
    lines += ['tokenizer = Tokenizer.from_file("tokenizer.json")']
    lines += [f'session = onnxruntime.InferenceSession("{onnx_graph.FILE}")']
    lines += ['read = tokenizer.encode("...")    # of a pair: encode("...", "...")']
    lines += ['given = {"input_ids": read.ids, "attention_mask": read.attention_mask, "token_type_ids": read.type_ids}']
    lines += ["given = {one.name: np.array([given[one.name]]) for one in session.get_inputs()}"]
    if output == LOGITS:
        return [*lines, "(logits,) = session.run(None, given)    # their softmax: probabilities, as config.json names"]
    lines += ["(states,) = session.run(None, given)    # [1, tokens, width]; pooling: 1_Pooling/config.json", ""]
    lines += ["# where optimum-onnx fits the installed transformers (0.1.0: below 4.58):"]
    return [*lines, *("# " + line.replace('(".")', '(".", backend="onnx")') for line in with_torch)]


class OnnxEncoder(nn.Module):
    """A graph in the place of a transformer: token ids in, the states of the tokens (or the logits, pooled) out."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__()
        self.config = AutoConfig.from_pretrained(folder)
        self.session = onnx_graph.session(folder / onnx_graph.FILE, threads)
        self.inputs = [one.name for one in self.session.get_inputs()]

    def forward(self, **inputs: torch.Tensor) -> BaseModelOutputWithPooling:
        """Of padded token ids [rows, tokens]."""
        (found,) = self.session.run(None, {name: inputs[name].numpy() for name in self.inputs})
        states = torch.from_numpy(np.asarray(found))
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=states)


def load(folder: Path, card: Params, hardware_options: Params) -> Predictor:
    """Read what `write` wrote; it runs on the processor, with the threads of the section `hardware`."""
    chosen = hardware.choose(Params({**PLAIN, "threads": hardware_options.get("threads", 0)}))
    encoder: Any = OnnxEncoder(folder, chosen.threads)
    tokenizer = tokens.tokenizer_of(folder)
    if card.learner == "classifier":
        max_length = positions.within(folder, card.spec.training.max_length)
        return EncoderClassifier(_classifier(folder, card, encoder).eval(), tokenizer, card.spec, max_length, chosen)
    file = "reranker.json" if card.learner == "reranker" else "embedder.json"
    kept = json.loads((folder / file).read_text(encoding="utf-8"))
    max_length = positions.within(folder, kept["max_length"])
    if card.learner == "reranker":
        ranks = Reranker(encoder, kept["pooling"])
        ranks.head.load_state_dict(_linear(folder))
        return EncoderReranker(ranks.eval(), tokenizer, max_length, chosen)
    if card.learner == "retriever":
        return Retriever(BiEncoder(encoder, kept["pooling"]).eval(), tokenizer, kept["prefixes"], max_length, chosen)
    pairs = PairEmbedder(encoder, kept["pooling"])
    pairs.load_state_dict(load_file(folder / "head.safetensors"))
    return CosineClassifier(pairs.eval(), tokenizer, kept["query_prefix"], max_length, chosen)


def _classifier(folder: Path, card: Params, encoder: Any) -> Classifier:
    """The linear layer behind a graph of states; of one that ends in logits there is nothing left to do."""
    labels = len(card.spec.labels)
    found = Classifier(encoder, card.reads.pooling, labels)
    if card.reads.output == LOGITS:
        passed: Any = nn.Identity()
        passed.out_features = labels
        found.classifier = passed
    else:
        found.classifier.load_state_dict(_linear(folder))
    return found


def _linear(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(folder / "2_Dense/model.safetensors")
    return {name.removeprefix("linear."): weight for name, weight in weights.items()}


def token_ids(predictor: Any, rows: pl.DataFrame) -> list[list[int]]:
    """Token ids of each row as the model reads them."""
    form: Any = next(
        one
        for kind, one in ((EncoderClassifier, classifier), (EncoderReranker, reranker), (object, embedder))
        if isinstance(predictor, kind)
    )
    found: list[list[int]] = form.token_ids(predictor, rows)
    return found
