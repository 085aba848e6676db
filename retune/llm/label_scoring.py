"""Probabilities of every label's answer, read from the LLM instead of generated and parsed.

For a prompt x and a label whose answer has the tokens a1..an: P(label | x) = prod_i p(a_i | x, a1..a_{i-1}), with p the
LLM's softmax over the tokens with which some answer goes on there. That is the distribution of decoding constrained to
the answers (guided choice): it adds up to one, and a token that must follow costs nothing, so long answers are not at a
disadvantage. Where one answer begins another (是, 是的; 1, 10) the token that follows a complete answer is one of those
that it can go on with: the end of the turn, or the first one of the text between an answer and its reason.

The answers stand as a trie behind each text, and many texts behind the instructions that they share, in one
packed row (retune.llm.packing.packing): every distinct history is computed once, none behind the last choice, and of
the output head only the rows of tokens that stand for a choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from retune.llm.packing.batches import Target
from retune.llm.packing.packing import PackedModel
from retune.progress import bar
from retune.training import out_of_memory


@dataclass(frozen=True)
class AnswerTrie:
    """Where the answers part: `nodes`, the tokens before each choice, and `edges`, which node and which token each.

    `on_path` (answers, edges) says which edges lead to an answer; `first_edges` where the edges of each node begin.
    """

    nodes: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int], ...]
    on_path: np.ndarray
    first_edges: np.ndarray


def label_log_probs(
    packed: PackedModel,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    end: int,
    batch_tokens: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Give log P(label | prompt): float64 (rows, labels), row order kept; the probabilities of a row add up to one.

    `prompts` and `answers` are token ids, `end` is the token behind a complete answer; a batch has `batch_tokens`, or
    as many as `packed.limit` says, which falls where memory runs out. The model's mode (eval) is the caller's.
    """
    trie = trie_of(answers, end)
    scores = np.zeros((len(prompts), len(answers)))
    order = sorted(range(len(prompts)), key=lambda row: (tuple(prompts[row]), row))
    limit = packed.limit if batch_tokens is None else out_of_memory.Limit(batch_tokens, "tokens", "label scoring")
    longest = max(map(len, prompts), default=0) + max(map(len, answers))

    def score(rows: Sequence[int]) -> np.ndarray:
        return _score_batch(packed, [prompts[row] for row in rows], trie, max(limit.size, longest))

    def rows_within(start: int, size: int) -> int:
        return _prompts_within((prompts[order[place]] for place in range(start, len(order))), trie, size)

    with torch.inference_mode(), bar(total=len(prompts), desc="scoring", unit="row", disable=not progress) as done:
        for rows, log_probs in out_of_memory.in_batches(order, limit, score, rows_within):
            scores[rows] = log_probs
            done.update(len(rows))
    return scores


def trie_of(answers: Sequence[Sequence[int]], end: int) -> AnswerTrie:
    """The choices between different, non-empty answers; each is followed by `end`."""
    whole = [(*answer, end) for answer in answers]
    children: dict[tuple[int, ...], list[int]] = {}
    for answer in whole:
        for place, token in enumerate(answer):
            followers = children.setdefault(answer[:place], [])
            if token not in followers:
                followers.append(token)
    nodes = tuple(node for node, followers in children.items() if len(followers) > 1)
    edges = tuple((place, token) for place, node in enumerate(nodes) for token in children[node])
    on_path = [[answer[: len(nodes[n]) + 1] == (*nodes[n], token) for n, token in edges] for answer in whole]
    first_edges = np.cumsum([0, *(len(children[node]) for node in nodes)])[:-1]
    return AnswerTrie(nodes, edges, np.array(on_path, dtype=np.float64), first_edges)


def log_probs_of_edges(logits: np.ndarray, trie: AnswerTrie) -> np.ndarray:
    """Give log P(answer | prompt), float64 (prompts, answers), for the logits (prompts, edges) of every edge."""
    totals = np.logaddexp.reduceat(logits, trie.first_edges, axis=1)  # (prompts, nodes)
    logs = logits - totals[:, [node for node, _ in trie.edges]]  # (prompts, edges)
    return np.asarray(logs @ trie.on_path.T, dtype=np.float64)


def _prompts_within(prompts: Iterable[Sequence[int]], trie: AnswerTrie, size: int) -> int:
    """How many prompts, each by what it adds to the one before, and their nodes make a packed row of `size` tokens.

    At least one.
    """
    branches = {node[:end] for node in trie.nodes for end in range(1, len(node) + 1)}
    tokens, count = 0, 0
    last: Sequence[int] = ()
    for prompt in prompts:
        tokens += len(prompt) - _common_length(last, prompt) + len(branches)
        if count and tokens > size:
            break
        count, last = count + 1, prompt
    return count


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    limit = min(len(one), len(other))
    return next((i for i in range(limit) if one[i] != other[i]), limit)


def _score_batch(packed: PackedModel, prompts: list[Sequence[int]], trie: AnswerTrie, budget: int) -> np.ndarray:
    """Give log P(answer | prompt) of one batch: float64 (prompts, answers)."""
    sequences = [[*prompt, *node] for prompt in prompts for node in trie.nodes]
    tokens: list[list[int]] = [[token for n, token in trie.edges if n == node] for node in range(len(trie.nodes))]
    targets: list[list[Target]] = [
        [(len(prompt) + len(node) - 1, token, 1.0) for token in tokens[place]]
        for prompt in prompts
        for place, node in enumerate(trie.nodes)
    ]
    logits = np.zeros(len(prompts) * len(trie.edges))  # (prompts * edges,)
    for batch in packed.batches(sequences, targets, budget):
        logits[batch.target_numbers.numpy()] = packed.logits(batch).numpy()
    return log_probs_of_edges(logits.reshape(len(prompts), len(trie.edges)), trie)
