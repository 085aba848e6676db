"""Models that are handed on: a standard folder for each learner, opened by its ecosystem's own loader, with proof.

One module a form (`write` and `load`, retune.exports.protocol), found by one table. `folder` writes what every export
has beside its weights, `parity` proves that the folder answers as the model does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from retune.exports.protocol import Form
    from retune.learners.protocols import Predictor
    from retune.params import Params

FORMS = {
    "tfidf_logistic": "linear",
    "tfidf_ridge": "linear",
    "classifier": "classifier",
    "pair_embedder": "embedder",
    "retriever": "embedder",
    "reranker": "reranker",
    "llm": "causal_lm",
}
"""Package of a learner (retune.learners.MODULES) -> module here that exports its models."""


ONNX = ("classifier", "pair_embedder", "retriever", "reranker")
"""Packages whose models are exported as ONNX, too, by `onnx_encoder`."""


def module(package: str, onnx: bool = False) -> str:
    """The full name of the module that exports the models of a learner's package, or exports them as ONNX."""
    return f"retune.exports.{'onnx_encoder' if onnx else FORMS[package]}"


OPENERS = {
    "linear": ("skops_classifier", "skops_pair", "skops_scorer"),
    "classifier": ("sequence_classifier", "cross_encoder_classifier"),
    "embedder": ("sentence_transformer_pair", "sentence_transformer_ranking"),
    "reranker": ("cross_encoder_ranking",),
    "causal_lm": ("causal_lm",),
    "onnx_encoder": ("onnx_encoder",),
}
"""Module here -> scripts in `openers`, without the project's code, that answer rows with what it exports."""


def opener_scripts(name: str) -> list[str]:
    """The full names of the scripts that open what the module `name` exports."""
    return [f"retune.exports.openers.{opener}" for opener in OPENERS[name.rpartition(".")[2]]]


def of(package: str, onnx: bool = False) -> Form:
    """The module that exports the models of a learner's package, or exports them as ONNX."""
    form: Form = import_module(module(package, onnx))
    return form


def load(folder: Path, card: Params, hardware: Params) -> Predictor:
    """The model of an exported folder, by this package and without its project; `card` is its export.json."""
    return of(card.learner, card.form == "onnx").load(folder, card, hardware)
