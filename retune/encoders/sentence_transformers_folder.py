"""Model folders that sentence-transformers opens as they are: `SentenceTransformer(folder)`, `CrossEncoder(folder)`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from retune.encoders import transformer

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
POOLING = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
NORMALIZE = "sentence_transformers.base.modules.normalize.Normalize"
DENSE = "sentence_transformers.base.modules.dense.Dense"
IDENTITY = "torch.nn.modules.linear.Identity"


def embedder(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: str,
    prefixes: dict[str, str],
    max_length: int,
    out: Path,
    default_prompt: str | None = None,
) -> None:
    """Write a bi-encoder: token states, pooled, of length 1.

    `prefixes` are those of a `query` and of a `document`; `default_prompt` names the one that `encode` takes unasked.
    """
    prompts = {"query": prefixes["query"], "document": prefixes["document"]}
    _write(encoder, tokenizer, pooling, max_length, out, [("2_Normalize", NORMALIZE)])
    _json(out / "2_Normalize/config.json", {})
    settings = {"model_type": "SentenceTransformer", "prompts": prompts, "default_prompt_name": default_prompt}
    _json(out / "config_sentence_transformers.json", {**settings, "similarity_fn_name": "cosine"})


def reranker(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: str,
    head: nn.Linear,
    max_length: int,
    out: Path,
) -> None:
    """Write a cross-encoder: token states of query and document together, pooled, and a linear layer to the score."""
    _write(encoder, tokenizer, pooling, max_length, out, [("2_Dense", DENSE)])
    dense = {
        "in_features": head.in_features,
        "out_features": 1,
        "bias": True,
        "activation_function": IDENTITY,
        "module_input_name": "sentence_embedding",
        "module_output_name": "scores",
    }
    _json(out / "2_Dense/config.json", dense)
    weights = {f"linear.{name}": weight.detach().cpu().contiguous() for name, weight in head.state_dict().items()}
    save_file(weights, out / "2_Dense/model.safetensors")
    none: dict[str, Any] = {"prompts": {}, "default_prompt_name": None}
    settings = {"model_type": "CrossEncoder", **none, "activation_fn": IDENTITY}
    _json(out / "config_sentence_transformers.json", settings)


def _write(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: str,
    max_length: int,
    out: Path,
    more: list[tuple[str, str]],
) -> None:
    """What both have: encoder, tokenizer (which cuts at `max_length`), pooling and the list of modules."""
    transformer.save(encoder, out)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(out)
    modules = [("", TRANSFORMER), ("1_Pooling", POOLING), *more]
    listed = [{"idx": i, "name": str(i), "path": path, "type": name} for i, (path, name) in enumerate(modules)]
    _json(out / "modules.json", listed)
    reads = {
        "transformer_task": "feature-extraction",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        "module_output_name": "token_embeddings",
    }
    _json(out / "sentence_bert_config.json", reads)
    pooled = {"embedding_dimension": encoder.config.hidden_size, "pooling_mode": pooling, "include_prompt": True}
    _json(out / "1_Pooling/config.json", pooled)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
