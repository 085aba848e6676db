"""Generation with the common beginning computed once gives what transformers gives for each prompt alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retune import generation, packing
from retune.hardware import Chosen
from tests import tiny_llm

END = 2
CPU = Chosen(torch.device("cpu"), torch.float64, "eager", 1)


def prompts(head: int, rows: int = 7) -> list[list[int]]:
    random = np.random.default_rng(5)
    shared = random.integers(3, 512, head).tolist()
    return [shared + random.integers(3, 512, random.integers(1, 9)).tolist() for _ in range(rows)]


def alone(model: torch.nn.Module, rows: list[list[int]], new: int) -> list[list[int]]:
    """Greedy by hand: the whole sequence through the model for every token."""
    answers = []
    for row in rows:
        ids = list(row)
        while len(ids) < len(row) + new:
            token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token == END:
                break
            ids.append(token)
        answers.append(ids[len(row) :])
    return answers


@pytest.mark.parametrize("head", [0, 6, 22])
@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
def test_answers_equal_those_of_each_prompt_alone(family: str, head: int) -> None:
    model = tiny_llm.model(family).double()
    rows = prompts(head)
    expected = alone(model, rows, 6)
    assert len(set(map(tuple, expected))) > 1
    packing.prepare(model, CPU, rows)  # as in use: the attention is the tree's
    assert generation.generate(model, rows, END, 6, rows=3) == expected


def test_an_answer_ends_before_the_end_token_and_no_prompts_give_none() -> None:
    model = tiny_llm.model().double()
    rows = prompts(4)
    first = alone(model, rows, 3)[0]
    end = first[1]
    assert generation.generate(model, rows[:1], end, 6) == [first[: first.index(end)]]
    assert generation.generate(model, [], END, 6) == []


def test_continuous_batching_gives_the_same_answers() -> None:
    model = tiny_llm.model("llama").double()
    rows = prompts(6, rows=4)
    assert generation._continuous(model, rows, END, 5, progress=False) == alone(model, rows, 5)
    assert model.config._attn_implementation != "paged|sdpa"
