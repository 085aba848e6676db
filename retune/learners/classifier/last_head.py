"""The linear layer of a model that starts warm: what its last version learned of the labels that both have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from retune import params


def labels_of(last: Path) -> list[str]:
    """The labels of the last version, in its order."""
    return list(params.load(last / "spec.json").labels)


def restore(layer: nn.Linear, last: Path, labels: Sequence[str]) -> None:
    """Give the labels that the version in `last` knows its weights, by their names; the others keep theirs."""
    weights, known = load_file(last / "head.safetensors"), labels_of(last)
    pairs = [(place, known.index(label)) for place, label in enumerate(labels) if label in known]
    to, of = (list(places) for places in zip(*pairs, strict=True)) if pairs else ([], [])
    with torch.no_grad():
        layer.weight[to] = weights["weight"][of].to(layer.weight.device)
        layer.bias[to] = weights["bias"][of].to(layer.bias.device)
