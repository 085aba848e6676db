"""Label scoring gives the same probabilities as the slow, obvious way: one sequence at a time, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from retune.llm.label_scoring import label_log_probs, trie_of
from retune.llm.packing.packing import PackedModel
from tests.support import constrained_decoding, tiny_llm

END = 2


def prompts(seed: int, rows: int, head: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    shared = random.integers(3, 512, head).tolist()
    return [shared + random.integers(3, 512, random.integers(1, 30)).tolist() for _ in range(rows)]


ANSWERS = {
    "one token": [[7], [9]],
    "several tokens": [[7], [9, 11, 14], [9, 12, 13]],
    "one begins another": [[7, 11], [7], [7, 11, 12, 15], [9, 10]],
}


@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
@pytest.mark.parametrize("answers", list(ANSWERS.values()), ids=list(ANSWERS))
def test_scores_equal_those_of_one_sequence_at_a_time(family: str, answers: list[list[int]]) -> None:
    model = tiny_llm.model(family).double()
    rows = prompts(seed=1, rows=9, head=20)  # with Gemma's window of 16 the head is longer than the window
    expected = np.stack([constrained_decoding.log_probs(model, row, answers, END) for row in rows])
    assert np.ptp(expected) > 0.1, "the reference must not be trivial"
    assert np.abs(label_log_probs(PackedModel(model), rows, answers, END, batch_tokens=64) - expected).max() < 1e-6
    single = label_log_probs(PackedModel(model.float()), rows, answers, END, batch_tokens=64)
    assert np.abs(np.exp(single) - np.exp(expected)).max() < 1e-6


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_a_row_does_not_depend_on_the_rows_around_it(family: str) -> None:
    model = tiny_llm.model(family).double()
    rows = prompts(seed=3, rows=12, head=0)
    together = label_log_probs(PackedModel(model), rows, [[7], [9]], END)
    alone = np.concatenate([label_log_probs(PackedModel(model), [row], [[7], [9]], END) for row in rows])
    assert np.abs(together - alone).max() < 1e-6
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = label_log_probs(PackedModel(model), [rows[i] for i in order], [[7], [9]], END, batch_tokens=50)
    assert np.abs(shuffled - together[order]).max() < 1e-6


def test_nothing_is_computed_behind_the_last_choice() -> None:
    trie = trie_of([[7, 8, 9], [7, 5, 6], [4, 3]], END)
    assert trie.nodes == ((), (7,))
    assert trie.edges == ((0, 7), (0, 4), (1, 8), (1, 5))
    assert trie.on_path.tolist() == [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]]


def test_an_answer_that_begins_another_may_end_or_go_on() -> None:
    assert trie_of([[7], [7, 8]], END).edges == ((0, END), (0, 8))


def test_texts_of_a_batch_share_a_packed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, rows = PackedModel(tiny_llm.model()), prompts(seed=6, rows=8, head=40)
    computed: list[int] = []
    logits = packed.logits
    monkeypatch.setattr(packed, "logits", lambda batch: computed.append(batch.input_ids.numel()) or logits(batch))
    label_log_probs(packed, rows, ANSWERS["several tokens"], END)
    assert computed == [40 + sum(len(row) - 40 + 1 for row in rows)], "one pass: the head once, and node (9,) each"


def test_probabilities_sum_to_one_and_no_rows_give_no_scores() -> None:
    model = tiny_llm.model()
    scores = label_log_probs(PackedModel(model), prompts(seed=4, rows=3, head=5), [[7], [9], [11]], END)
    assert np.allclose(np.exp(scores).sum(1), 1)
    assert label_log_probs(PackedModel(model), [], [[7], [9]], END).shape == (0, 2)
