"""Encoders in float32 on the processor, written as every loader finds them: one model.safetensors, one tokenizer."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune.encoders import sentence_transformers_folder, transformer
from retune.exports.protocol import PLAIN
from retune.training import hardware

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def encoder(folder: Path, pooler: bool = False) -> PreTrainedModel:
    """The encoder of a model folder, all of its weights free, so that it is saved as one file."""
    return transformer.load(folder, hardware.choose(PLAIN), pooler)


def without_pooler(model: PreTrainedModel, out: Path) -> None:
    """Tell sentence-transformers that the folder has no pooler, where its architecture would make a new one."""
    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        change(out / "sentence_bert_config.json", model_kwargs={"add_pooling_layer": False})


def cross_encoder(model: PreTrainedModel, tokenizer: Any, pooling: str, head: Any, max_length: int, out: Path) -> None:
    """A folder of sentence-transformers' CrossEncoder, with a linear layer of as many outputs as `head` has."""
    sentence_transformers_folder.reranker(model, tokenizer, pooling, head, max_length, out)
    change(out / "2_Dense/config.json", out_features=head.out_features)
    without_pooler(model, out)


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8")) | values
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def keep(file: Path, **values: Any) -> None:
    """Write what this package reads beside what the ecosystem does."""
    file.write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")
