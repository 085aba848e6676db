"""Rows with a common head, what is read of them, and random models with an adapter that read it."""

from __future__ import annotations

from typing import Any

import torch

from retune.llm import adapter
from retune.llm.packing.batches import Target
from retune.training.hardware import Chosen
from tests.support import tiny_llm
from tests.support.llm_fit import spec_of

HEAD = list(range(30, 52))  # longer than Gemma's and Mistral's window
ROWS = [HEAD + tail for tail in ([3, 4, 5], [9], [7, 8, 100, 101, 3, 3, 17], [7, 8, 100, 5], list(range(100, 125)))]
TARGETS: list[list[Target]] = [
    [(len(HEAD) - 1, row[-1], 0.5), (len(row) - 1, 7, 1.0), (len(row) - 1, 9, 2.0)] for row in ROWS
]


def chosen(attention: str = "eager") -> Chosen:
    return Chosen(torch.device("cpu"), torch.float64, attention, 1)


def lora(family: str) -> tuple[Any, list[torch.nn.Parameter]]:
    """A float64 model of the family with a random adapter, and the adapter's weights."""
    model = tiny_llm.model(family).double()
    trained = adapter.add(model, spec_of().lora, "tiny", 0, chosen())
    weights = [weight.requires_grad_() for weight in trained.parameters() if weight.requires_grad]
    with torch.no_grad():
        for number, weight in enumerate(weights):
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)).double() * 0.1
    return model, weights
