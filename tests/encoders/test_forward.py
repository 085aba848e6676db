"""Forward passes without a gradient: few padding tokens, no input lost, each where it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from retune.encoders import forward
from retune.encoders.tokens import Encoded
from retune.training.hardware import Chosen


class Sums(nn.Module):
    """The sum of an input's ids; remembers the shape of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.limit, self.shapes = forward.limit(), []

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        """Sums [rows] of ids [rows, tokens]."""
        self.shapes.append(tuple(input_ids.shape))
        return (input_ids * attention_mask).sum(-1).float()


@pytest.mark.parametrize("lengths", [range(1, 61), [700, 3, 3], [9] * 200])
def test_a_pass_on_a_processor_holds_few_tokens_and_each_input_is_answered(lengths):
    inputs = [Encoded(list(range(1, length + 1)), None, False) for length in lengths]
    model, chosen = Sums(), Chosen(torch.device("cpu"), torch.float32, "eager", 1)
    found = forward.outputs(model, inputs, model.forward, (), 0, chosen)
    assert np.array_equal(found, [sum(one.ids) for one in inputs])
    assert sum(rows for rows, _ in model.shapes) == len(inputs)
    assert all(rows * length <= forward.CPU_BATCH_TOKENS or rows == 1 for rows, length in model.shapes)
    padded, real = sum(rows * length for rows, length in model.shapes), sum(lengths)
    assert padded < 1.3 * real
