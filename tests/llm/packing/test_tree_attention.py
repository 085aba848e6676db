"""All kernels of tree attention give the values and gradients of attention with the ancestor mask, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.llm.packing import chunk_attention, prefix_tree, tree_attention
from retune.llm.packing.prefix_attention import Prefix
from retune.llm.packing.tree_attention import Tree, tree_attention_forward

CPU = torch.device("cpu")
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=9)


def inputs(tokens: int, heads: int, shared: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(1, count, tokens, 4, generator=random, dtype=torch.float64, requires_grad=True)
        for count in (heads, shared, shared)
    ]


def slow(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sees: torch.Tensor, scale: float) -> torch.Tensor:
    key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
    scores = (query @ key.transpose(2, 3) * scale).masked_fill(~sees, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kernel", ["chunks", "dense", pytest.param("flex", marks=pytest.mark.slow)])
@settings(max_examples=25, deadline=None)
@given(SEQUENCES, st.sampled_from([(2, 1), (4, 2), (2, 2)]), st.sampled_from([None, 1, 3]))
def test_kernels_equal_masked_attention(
    kernel: str, sequences: list[list[int]], heads: tuple[int, int], window: int | None
) -> None:
    (row,) = prefix_tree.pack(sequences)
    query, key, value = inputs(len(row.ids), *heads)
    sees, depth = torch.from_numpy(row.ancestor_mask()), torch.from_numpy(row.depth)
    if window is not None:
        sees = sees & (depth[:, None] - depth[None, :] < window)
    expected = slow(query, key, value, sees, 0.3)
    tree = Tree(row, CPU, kernel)
    if kernel == "flex":  # torch computes FlexAttention's gradients on CUDA only
        found, _ = tree_attention_forward(
            torch.nn.Identity(), *(t.detach() for t in (query, key, value)), None, 0.3, 0.0, window, tree
        )
        assert torch.allclose(found, expected)
        return
    found, _ = tree_attention_forward(torch.nn.Identity(), query, key, value, None, 0.3, 0.0, window, tree)
    assert torch.allclose(found, expected)
    weights = torch.arange(found.numel(), dtype=torch.float64).view_as(found).cos()
    gradients = [torch.autograd.grad((out * weights).sum(), (query, key, value)) for out in (found, expected)]
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


def test_large_scores_are_not_rounded_to_16_bits() -> None:
    """Keys and queries with a bias, as Qwen2.5 has them: near 200 bfloat16 has whole numbers only."""
    random = torch.Generator().manual_seed(0)
    (row,) = prefix_tree.pack([[1, 2, 3, 4, number] for number in range(5)])
    query, key = (torch.randn(1, 2, len(row.ids), 64, generator=random).add(5).bfloat16() for _ in range(2))
    value = torch.randn(1, 2, len(row.ids), 64, generator=random).bfloat16()
    sees = torch.from_numpy(row.ancestor_mask())
    expected = slow(query.double(), key.double(), value.double(), sees, 0.125)
    for learns in (True, False):
        found, _ = tree_attention_forward(
            torch.nn.Identity(), query.requires_grad_(learns), key, value, None, 0.125, tree=Tree(row, CPU)
        )
        assert found.dtype == torch.bfloat16
        assert (found - expected).abs().max() < 0.02
    ends = [int(path[-1]) for path in row.paths]  # behind what all share
    prefix = Prefix([(key[0, :, :4], value[0, :, :4])])
    own = [tensor[0][:, ends].transpose(0, 1)[:, :, None] for tensor in (query.detach(), key, value)]
    layer = torch.nn.Identity()
    layer.layer_idx = 0
    found, _ = tree_attention_forward(layer, *own, None, 0.125, prefix=prefix)
    assert found.dtype == torch.bfloat16
    assert (found[:, 0] - expected[0, ends]).abs().max() < 0.02


def test_gradients_of_a_shared_token_are_summed_in_float32() -> None:
    rows = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    taken = chunk_attention._Take.apply(rows, torch.zeros(1024, dtype=torch.long))
    taken.sum().backward()
    assert rows.grad is not None
    assert rows.grad.item() == 1024, "256 ones and one more are 256 again in bfloat16"


def test_long_rows_on_a_gpu_take_flex_attention_short_ones_the_dense_mask() -> None:
    cuda = torch.device("cuda")
    assert [tree_attention.choose_kernel(n, cuda) for n in (2048, 2049)] == ["dense", "flex"]
    assert tree_attention.choose_kernel(100_000, CPU) == "chunks"
