"""Pretrained text encoders (BERT and its kin): load, freeze, pool, save."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import AutoModel, PreTrainedModel

from retune.encoders import fast_dropout
from retune.errors import RetuneError
from retune.training import pretrained
from retune.training.layers import layers_of

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.hardware import Chosen

WEIGHTS = "model.safetensors"
WORDS, FROZEN, TRAINED = (f"model-{part}.safetensors" for part in ("embeddings", "frozen", "trained"))


def load(folder: Path, chosen: Chosen, pooler: bool = False) -> PreTrainedModel:
    """The encoder of a Hugging Face folder in float32 (mixed precision is the caller's), with its pooler if wanted."""
    encoder = pretrained.load(AutoModel, folder, torch.float32, chosen)
    if not pooler and getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    if chosen.device.type == "cpu":
        fast_dropout.use_fast_dropout(encoder)
    return encoder


def has_pooler(folder: Path) -> bool:
    """Whether a checkpoint brings a pretrained pooler over its first token, as BERT and MacBERT do."""
    names: list[str] = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            names += tensors.keys()
    return any("pooler.dense.weight" in name for name in names)


def freeze(encoder: PreTrainedModel, options: Params) -> None:
    """Keep as pretrained what `freeze_embeddings` and `freeze_layers` of the section `training` name.

    What is frozen has no gradient, no optimiser state and no copy in checkpoints. Raises `RetuneError` where no layer
    would be left to train.
    """
    if options.freeze_embeddings:
        encoder.get_input_embeddings().weight.requires_grad_(False)
    if not options.freeze_layers:
        return
    depth = encoder.config.num_hidden_layers
    if options.freeze_layers >= depth:
        raise RetuneError(f"training.freeze_layers is {options.freeze_layers}, but the encoder has {depth} layers: at "
                          f"most {depth - 1}")  # fmt: skip
    layers = layers_of(encoder)
    for child in encoder.children():  # what stands before the layers (embeddings), and the lowest of them
        if any(module is layers for module in child.modules()):
            layers[: options.freeze_layers].requires_grad_(False)
            return
        child.requires_grad_(False)


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Hidden states [texts, tokens, width] to a vector per text [texts, width]: its tokens' mean, or the first."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def merged(adapted: Any) -> PreTrainedModel:
    """The encoder under an adapter, whose weights have taken it in: they count as trained, the others stay frozen."""
    changed = [name for name, module in adapted.get_base_model().named_modules() if hasattr(module, "base_layer")]
    encoder: PreTrainedModel = adapted.merge_and_unload()
    for name in changed:
        encoder.get_submodule(name).weight.requires_grad_(True)
    return encoder


def save(encoder: PreTrainedModel, out: Path) -> None:
    """Write config.json and model.safetensors; where a part is frozen, shards and their index in its stead.

    The word embeddings, if they are frozen, have a shard of their own (in a multilingual encoder they are most of the
    weights), what else is frozen another, what was trained the last. So the bytes of the frozen ones are the same in
    all models of a base that freeze the same, and DVC, which knows files by their content, stores and sends them once.
    """
    state = encoder.state_dict()
    weights = dict(encoder.named_parameters(remove_duplicate=False))  # a tied weight has all its names in the state
    frozen = {name for name, weight in weights.items() if not weight.requires_grad} & state.keys()
    if not frozen:
        encoder.save_pretrained(out)
        return
    words = {name for name in frozen if weights[name] is encoder.get_input_embeddings().weight}
    places: dict[str, str] = {}
    size = 0
    for shard, kept in ((WORDS, words), (FROZEN, frozen - words), (TRAINED, state.keys() - frozen)):
        if not kept:
            continue
        encoder.save_pretrained(out, state_dict={name: weight for name, weight in state.items() if name in kept})
        if not (out / WEIGHTS).exists():  # of several processes, transformers lets the first alone write
            return
        (out / WEIGHTS).rename(out / shard)
        with safe_open(out / shard, framework="pt") as tensors:  # transformers may have given them their old names back
            places |= dict.fromkeys(tensors.keys(), shard)
        size += sum(state[name].nbytes for name in kept)
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (out / f"{WEIGHTS}.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
