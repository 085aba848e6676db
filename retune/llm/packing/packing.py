"""Token sequences through a causal LM: every distinct history once, and the output head only where a target stands.

`Packing.parts` turns sequences and their targets into forward passes; `loss`, `log_probs` and `logits` run them.
What a target says is a triplet (position in its sequence, token that should follow it, weight). The values equal those
of running each sequence alone, forwards and backwards, but for rounding. That holds for a model whose tokens know each
other through attention alone; `prepare` proves it on real sequences before it is relied on, and takes ordinary padded
batches, with a warning that says why, for any other model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from retune.llm.packing import last_layer, output_head, prefix_tree, tree_attention
from retune.llm.packing.prefix_tree import PackedRow
from retune.llm.packing.tree_attention import Kept, Tree
from retune.training import out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

Triplet = tuple[int, int, float]

LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers in which a token depends on the tokens that it may see and on their positions alone."""
SCORED = 4096
"""Tokens of one pass without a gradient."""
CHECKED, CHECKED_TOKENS, CHECKED_LOGITS = 3, 64, 4096
"""Sequences that are run both ways before packing is relied on, the most tokens of their common beginning and of what
follows it that are run, and of the vocabulary the first tokens that are compared: it shall cost a second, not ten."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
TOLERANCE_16_BITS = 0.1
"""Mean difference of log-probabilities between both ways, in their standard deviations, that passes as rounding."""


@dataclass(frozen=True)
class Part:
    """Some sequences as one forward pass; CPU tensors."""

    ids: torch.Tensor  # (rows, tokens); one row where it is packed
    row: PackedRow | None  # None: padded at the right, one sequence a row
    where: torch.Tensor  # flat positions whose hidden state reaches the head, ascending
    at: torch.Tensor  # (targets,) index into `where`, ascending
    targets: torch.Tensor  # (targets,) token that should follow
    weights: torch.Tensor  # (targets,)
    order: torch.Tensor  # (targets,) which of the given triplets this is, counted over all sequences


class Packing:
    """A causal LM and the way it runs sequences: packed by `kernel`, or as padded batches where `kernel` is None."""

    def __init__(self, model: PreTrainedModel, kernel: str | None = "auto") -> None:
        self.model, self.kernel = model, kernel
        self.limit = out_of_memory.Limit(SCORED, "tokens", "label scoring")
        if kernel is not None:
            tree_attention.register()
            model.set_attn_implementation(tree_attention.NAME)
            last_layer.shorten(model)

    def parts(
        self, sequences: Sequence[Sequence[int]], triplets: Sequence[Sequence[Triplet]], budget: int | None = None
    ) -> list[Part]:
        """Forward passes of at most `budget` tokens (a longer sequence has one of its own) for all sequences."""
        firsts = np.cumsum([0, *map(len, triplets)])
        if self.kernel is None:
            return [_padded(numbers, sequences, triplets, firsts) for numbers in _batches(sequences, budget)]
        return [_packed(row, triplets, firsts) for row in prefix_tree.pack(sequences, budget)]

    def loss(self, part: Part) -> torch.Tensor:
        """Sum over the part's targets of weight times cross-entropy: a scalar, with a gradient."""
        head = self.model.get_output_embeddings()
        at, targets, weights = (t.to(self.model.device) for t in (part.at, part.targets, part.weights))
        return output_head.loss(self.hidden(part), head.weight, head.bias, at, targets, weights)

    def log_probs(self, part: Part) -> torch.Tensor:
        """Log-probability of each target of the part: float32 (targets,), on the CPU."""
        head = self.model.get_output_embeddings()
        at, targets = (tensor.to(self.model.device) for tensor in (part.at, part.targets))
        return output_head.log_probs(self.hidden(part), head.weight, head.bias, at, targets).cpu()

    def logits(self, part: Part) -> torch.Tensor:
        """Logit of each target of the part: float32 or wider (targets,), on the CPU."""
        return self._logits(part, self.hidden(part))

    def read(self, part: Part) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
        """Keys and values, each (key-value heads, tokens of the part, d), of every layer; and what `logits` gives.

        Needs a kernel.
        """
        kept: Kept = {}
        states = self.hidden(part, kept)
        return [kept[layer] for layer in sorted(kept)], self._logits(part, states)

    def hidden(self, part: Part, kept: Kept | None = None) -> torch.Tensor:
        """Last hidden states at `part.where`: (positions, width); keys and values go to `kept`."""
        where = part.where.to(self.model.device)
        tree = None if part.row is None else Tree(part.row, self.model.device, self.kernel or "auto", where, kept)
        return self._states(part.ids, tree).flatten(0, 1).index_select(0, where)

    def _logits(self, part: Part, states: torch.Tensor) -> torch.Tensor:
        head = self.model.get_output_embeddings()
        at, targets = (tensor.to(self.model.device) for tensor in (part.at, part.targets))
        return output_head.logits(states, head.weight, head.bias, at, targets).cpu()

    def _states(self, ids: torch.Tensor, tree: Tree | None) -> torch.Tensor:
        """Last hidden states (rows, tokens, width)."""
        inputs: dict[str, Any] = {"input_ids": ids.to(self.model.device), "use_cache": False}
        if tree is not None:
            inputs["tree"] = tree
            inputs["position_ids"] = torch.from_numpy(tree.row.depth)[None].to(self.model.device)
            inputs["attention_mask"] = self._no_mask()
        states: torch.Tensor = self.model.get_decoder()(**inputs).last_hidden_state
        return states

    def _no_mask(self) -> Any:
        """What keeps a model from making a causal mask of its own; the tree's attention does not read it."""
        kinds = set(getattr(self.model.config.get_text_config(), "layer_types", None) or LAYERS)
        return dict.fromkeys(kinds) if len(kinds) > 1 and _layers(self.model) else torch.zeros(1, 1, 1, 1)


def prepare(model: PreTrainedModel, chosen: Chosen, sequences: Sequence[Sequence[int]]) -> Packing:
    """The fastest way that is right for this model; proven on the first of `sequences`, and said with its reason."""
    plain = model.config._attn_implementation
    why = _unfit(model, chosen)
    if why is None:
        packing = Packing(model, _kernel(chosen))
        difference = check(packing, plain, sequences)
        limit = TOLERANCE.get(model.dtype, TOLERANCE_16_BITS)
        if difference <= limit:
            log.info("shared prefixes %s: %s", packing.kernel, tree_attention.reason(model.device))
            return packing
        why = f"its log-probabilities differ by {difference:.2g} standard deviations from those of each row alone"
        model.set_attn_implementation(plain)
    log.warning("%s runs without shared prefixes, in ordinary padded batches: %s", model.config.model_type, why)
    return Packing(model, None)


@torch.no_grad()
def check(packing: Packing, plain: str, sequences: Sequence[Sequence[int]]) -> float:
    """Mean difference between the log-probabilities of packed rows and of each row alone, in standard deviations."""
    chosen = _shortened(sorted(sequences, key=len)[:CHECKED])
    if not chosen:
        return 0.0
    mode, head = packing.model.training, packing.model.get_output_embeddings()
    packing.model.eval()
    ends: list[list[Triplet]] = [[(len(sequence) // 2, 0, 1.0), (len(sequence) - 1, 0, 1.0)] for sequence in chosen]
    (part,) = packing.parts(chosen, ends)
    rows = part.at[part.order.argsort()].to(packing.model.device)
    weight, bias = head.weight[:CHECKED_LOGITS], None if head.bias is None else head.bias[:CHECKED_LOGITS]
    together = output_head.log_softmax(packing.hidden(part)[rows], weight, bias)
    packing.model.set_attn_implementation(plain)
    alone = Packing(packing.model, None)
    each = [alone.hidden(alone.parts([s], [e])[0])[[0, -1]] for s, e in zip(chosen, ends, strict=True)]
    apart = output_head.log_softmax(torch.cat(each), weight, bias)
    packing.model.set_attn_implementation(tree_attention.NAME)
    packing.model.train(mode)
    return float((together - apart).abs().mean() / apart.std())


def _shortened(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """The sequences with the first tokens of what they share, and of what each goes on with."""
    same = [len(set(tokens)) == 1 for tokens in zip(*sequences, strict=False)]
    common = [*same, False].index(False)
    kept = min(common, CHECKED_TOKENS)
    return [[*sequence[:kept], *sequence[common : common + CHECKED_TOKENS]] for sequence in sequences]


def _unfit(model: PreTrainedModel, chosen: Chosen) -> str | None:
    """Why a model's rows cannot share a prefix, as far as its class tells."""
    if chosen.attention == "flash_attention_2":
        return "flash_attention_2 has no mask for a tree; hardware.attention sdpa or auto has"
    if getattr(model, "_is_stateful", False):
        return "its layers carry a state from token to token (state space or linear attention)"
    if other := sorted(_layers(model) - LAYERS):
        return f"it has layers of kind {', '.join(other)}"
    return None


def _layers(model: PreTrainedModel) -> set[str]:
    return set(getattr(model.config.get_text_config(), "layer_types", None) or [])


def _kernel(chosen: Chosen) -> str:
    """The kernel that `hardware.attention` asks for; see `retune.llm.packing.tree_attention`."""
    if chosen.attention == "eager":
        return "chunks"
    if chosen.attention == "flex_attention":
        return "flex"
    return "auto" if chosen.device.type == "cuda" else "dense"


def _packed(row: PackedRow, triplets: Sequence[Sequence[Triplet]], firsts: np.ndarray) -> Part:
    found = [
        (row.paths[place][position], token, weight, firsts[number] + index)
        for place, number in enumerate(row.sequences)
        for index, (position, token, weight) in enumerate(triplets[number])
    ]
    return _part(torch.from_numpy(row.ids)[None], row, found)


def _padded(
    numbers: list[int], sequences: Sequence[Sequence[int]], triplets: Sequence[Sequence[Triplet]], firsts: np.ndarray
) -> Part:
    """An ordinary batch; the padding stands at the right, where causal attention cannot see it, and needs no mask."""
    width = max(len(sequences[number]) for number in numbers)
    ids = torch.zeros((len(numbers), width), dtype=torch.long)
    found = []
    for place, number in enumerate(numbers):
        ids[place, : len(sequences[number])] = torch.tensor(sequences[number])
        found += [(place * width + p, token, w, firsts[number] + i) for i, (p, token, w) in enumerate(triplets[number])]
    return _part(ids, None, found)


def _part(ids: torch.Tensor, row: PackedRow | None, found: list[tuple[int, int, float, int]]) -> Part:
    found.sort(key=lambda target: (target[0], target[3]))
    where, at = np.unique(np.array([target[0] for target in found], dtype=np.int64), return_inverse=True)
    _, tokens, weights, order = zip(*found, strict=True) if found else ((), (), (), ())
    return Part(
        ids,
        row,
        torch.from_numpy(where),
        torch.from_numpy(at),
        torch.tensor(tokens, dtype=torch.long),
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(np.array(order, dtype=np.int64)),
    )


def _batches(sequences: Sequence[Sequence[int]], budget: int | None) -> list[list[int]]:
    """Sequence numbers by length, cut so that rows times longest row stays within the budget."""
    batches: list[list[int]] = []
    for number in sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i)):
        fits = batches and (budget is None or (len(batches[-1]) + 1) * len(sequences[batches[-1][0]]) <= budget)
        if fits:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
