"""Label scoring gives the same probabilities as the slow, obvious way: one sequence at a time, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retune.label_scoring import complete, label_log_probs
from retune.packing import Packing
from tests import tiny_llm

END = 2


def prompts(seed: int, rows: int, head: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    shared = random.integers(3, 512, head).tolist()
    return [shared + random.integers(3, 512, random.integers(1, 30)).tolist() for _ in range(rows)]


def one_by_one(model: torch.nn.Module, rows: list[list[int]], answers: list[list[int]]) -> np.ndarray:
    scores = np.zeros((len(rows), len(answers)))
    with torch.no_grad():
        for i, row in enumerate(rows):
            for j, answer in enumerate(answers):
                logits = model(torch.tensor([row + answer]), use_cache=False).logits[0].log_softmax(-1)
                scores[i, j] = sum(logits[len(row) - 1 + k, token].item() for k, token in enumerate(answer))
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
@pytest.mark.parametrize("answers", [[[7], [9]], [[7], [9, 11], [9, 12, 13]]], ids=["one token", "several tokens"])
def test_scores_equal_those_of_one_sequence_at_a_time(family: str, answers: list[list[int]]) -> None:
    model = tiny_llm.model(family).double()
    rows = prompts(seed=1, rows=9, head=20)  # with Gemma's window of 16 the head is longer than the window
    expected = one_by_one(model, rows, answers)
    assert np.ptp(expected) > 0.1, "the reference must not be trivial"
    assert np.abs(label_log_probs(Packing(model), rows, answers, END, batch_tokens=64) - expected).max() < 1e-6
    single = label_log_probs(Packing(model.float()), rows, answers, END, batch_tokens=64)
    assert np.abs(np.exp(single) - np.exp(expected)).max() < 1e-6


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_a_row_does_not_depend_on_the_rows_around_it(family: str) -> None:
    model = tiny_llm.model(family).double()
    rows = prompts(seed=3, rows=12, head=0)
    together = label_log_probs(Packing(model), rows, [[7], [9]], END)
    alone = np.concatenate([label_log_probs(Packing(model), [row], [[7], [9]], END) for row in rows])
    assert np.abs(together - alone).max() < 1e-6
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = label_log_probs(Packing(model), [rows[i] for i in order], [[7], [9]], END, batch_tokens=50)
    assert np.abs(shuffled - together[order]).max() < 1e-6


def test_an_answer_that_begins_another_is_scored_with_its_end() -> None:
    assert complete([[7], [7, 8]], END) == [[7, END], [7, 8, END]]
    assert complete([[7], [8]], END) == [[7], [8]]


def test_length_normalisation_takes_the_mean_over_the_tokens_of_an_answer() -> None:
    model, answers = tiny_llm.model().double(), [[7], [9, 11, 12]]
    rows = prompts(seed=5, rows=4, head=6)
    plain, mean = (
        label_log_probs(Packing(model), rows, answers, END, per_token=per_token) for per_token in (False, True)
    )
    sums = np.zeros((4, 2))
    with torch.no_grad():
        for i, row in enumerate(rows):
            for j, answer in enumerate(answers):
                logs = model(torch.tensor([row + answer]), use_cache=False).logits[0].log_softmax(-1)
                sums[i, j] = sum(logs[len(row) - 1 + k, token].item() for k, token in enumerate(answer))
    wanted = sums / [1, 3]
    assert np.abs(mean - (wanted - np.logaddexp.reduce(wanted, axis=1, keepdims=True))).max() < 1e-6
    assert np.abs(mean - plain).max() > 0.1


def test_probabilities_sum_to_one_and_no_rows_give_no_scores() -> None:
    model = tiny_llm.model()
    scores = label_log_probs(Packing(model), prompts(seed=4, rows=3, head=5), [[7], [9], [11]], END)
    assert np.allclose(np.exp(scores).sum(1), 1)
    assert label_log_probs(Packing(model), [], [[7], [9]], END).shape == (0, 2)
