"""Token sequences through a causal LM: every distinct history once, and the output head only where a target stands.

`PackedModel.batches` turns sequences and their targets into batches; `loss`, `log_probs` and `logits` run them. The
values equal those of running each sequence alone, forwards and backwards, but for rounding. That holds for a model
whose tokens know each other through attention alone; `prepare` proves it on real sequences before it is relied on, and
takes ordinary padded batches, with a warning that says why, for any other model.
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
from retune.llm.packing.tree_attention import KeyValues, Tree
from retune.training import out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

Target = tuple[int, int, float]
"""Position in its sequence, token that should follow there, weight."""

LAYER_TYPES = {"full_attention", "sliding_attention"}
"""Kinds of layers in which a token depends on the tokens that it may see and on their positions alone."""
INFERENCE_TOKENS = 4096
"""Tokens of one forward pass without a gradient."""
CHECK_SEQUENCES, CHECK_TOKENS, CHECK_VOCABULARY = 3, 64, 4096
"""Sequences that are run both ways before packing is relied on, the most tokens of their common prefix and of what
follows it that are run, and of the vocabulary the first tokens that are compared: it shall cost a second, not ten."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
TOLERANCE_16_BITS = 0.1
"""Mean difference of log-probabilities between both ways, in their standard deviations, that passes as rounding."""


@dataclass(frozen=True)
class PackedBatch:
    """Some sequences as one forward pass; CPU tensors."""

    input_ids: torch.Tensor  # (rows, tokens); one row where it is packed
    row: PackedRow | None  # None: padded at the right, one sequence a row
    head_positions: torch.Tensor  # (positions,) flat positions whose hidden state reaches the output head, ascending
    target_rows: torch.Tensor  # (targets,) index into `head_positions`, ascending
    target_ids: torch.Tensor  # (targets,) token that should follow
    target_weights: torch.Tensor  # (targets,)
    target_numbers: torch.Tensor  # (targets,) which of the given targets this is, counted over all sequences


class PackedModel:
    """A causal LM and the way it runs sequences: packed by `kernel`, or as padded batches where `kernel` is None."""

    def __init__(self, model: PreTrainedModel, kernel: str | None = "auto") -> None:
        self.model, self.kernel = model, kernel
        self.limit = out_of_memory.Limit(INFERENCE_TOKENS, "tokens", "label scoring")
        if kernel is not None:
            tree_attention.register()
            model.set_attn_implementation(tree_attention.NAME)
            last_layer.skip_unread_positions(model)

    def batches(
        self, sequences: Sequence[Sequence[int]], targets: Sequence[Sequence[Target]], budget: int | None = None
    ) -> list[PackedBatch]:
        """Batches of at most `budget` tokens (a longer sequence has one of its own) of all sequences."""
        offsets = np.cumsum([0, *map(len, targets)])  # (sequences + 1,) targets before each sequence
        if self.kernel is None:
            return [_padded_batch(numbers, sequences, targets, offsets) for numbers in _by_length(sequences, budget)]
        return [_packed_batch(row, targets, offsets) for row in prefix_tree.pack(sequences, budget)]

    def loss(self, batch: PackedBatch) -> torch.Tensor:
        """Sum over the batch's targets of weight times cross-entropy: a scalar, with a gradient."""
        head, device = self.model.get_output_embeddings(), self.model.device
        rows, ids, weights = (t.to(device) for t in (batch.target_rows, batch.target_ids, batch.target_weights))
        return output_head.loss(self.hidden_states(batch), head.weight, head.bias, rows, ids, weights)

    def log_probs(self, batch: PackedBatch) -> torch.Tensor:
        """Log-probability of each target of the batch: float32 (targets,), on the CPU."""
        head, device = self.model.get_output_embeddings(), self.model.device
        rows, ids = (tensor.to(device) for tensor in (batch.target_rows, batch.target_ids))
        return output_head.log_probs(self.hidden_states(batch), head.weight, head.bias, rows, ids).cpu()

    def logits(self, batch: PackedBatch) -> torch.Tensor:
        """Logit of each target of the batch: float32 or wider (targets,), on the CPU."""
        return self._logits(batch, self.hidden_states(batch))

    def prefill(self, batch: PackedBatch) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
        """Keys and values, each (key-value heads, tokens of the batch, d), of every layer; and what `logits` gives.

        Needs a kernel.
        """
        key_values: KeyValues = {}
        states = self.hidden_states(batch, key_values)
        return [key_values[layer] for layer in sorted(key_values)], self._logits(batch, states)

    def hidden_states(self, batch: PackedBatch, key_values: KeyValues | None = None) -> torch.Tensor:
        """Last hidden states at `batch.head_positions`: (positions, width); keys and values go to `key_values`."""
        device = self.model.device
        positions = batch.head_positions.to(device)
        tree = None
        if batch.row is not None:
            tree = Tree(batch.row, device, self.kernel or "auto", positions, key_values)
        return self._decoder_states(batch.input_ids, tree).flatten(0, 1).index_select(0, positions)

    def _logits(self, batch: PackedBatch, states: torch.Tensor) -> torch.Tensor:
        head, device = self.model.get_output_embeddings(), self.model.device
        rows, ids = (tensor.to(device) for tensor in (batch.target_rows, batch.target_ids))
        return output_head.logits(states, head.weight, head.bias, rows, ids).cpu()

    def _decoder_states(self, input_ids: torch.Tensor, tree: Tree | None) -> torch.Tensor:
        """Last hidden states (rows, tokens, width)."""
        inputs: dict[str, Any] = {"input_ids": input_ids.to(self.model.device), "use_cache": False}
        if tree is not None:
            inputs["tree"] = tree
            inputs["position_ids"] = torch.from_numpy(tree.row.depth)[None].to(self.model.device)
            inputs["attention_mask"] = self._no_mask()
        states: torch.Tensor = self.model.get_decoder()(**inputs).last_hidden_state
        return states

    def _no_mask(self) -> Any:
        """What keeps a model from making a causal mask of its own; the tree's attention does not read it."""
        types = set(getattr(self.model.config.get_text_config(), "layer_types", None) or LAYER_TYPES)
        return dict.fromkeys(types) if len(types) > 1 and _layer_types(self.model) else torch.zeros(1, 1, 1, 1)


def prepare(model: PreTrainedModel, chosen: Chosen, sequences: Sequence[Sequence[int]]) -> PackedModel:
    """The fastest way that is right for this model; proven on the first of `sequences`, and logged with its reason."""
    attention = model.config._attn_implementation
    why = _why_not_packed(model, chosen)
    if why is None:
        packed = PackedModel(model, _kernel(chosen))
        difference = packing_error(packed, attention, sequences)
        limit = TOLERANCE.get(model.dtype, TOLERANCE_16_BITS)
        if difference <= limit:
            log.info("shared prefixes %s: %s", packed.kernel, tree_attention.kernel_reason(model.device))
            return packed
        why = f"its log-probabilities differ by {difference:.2g} standard deviations from those of each row alone"
        model.set_attn_implementation(attention)
    log.warning("%s runs without shared prefixes, in ordinary padded batches: %s", model.config.model_type, why)
    return PackedModel(model, None)


@torch.no_grad()
def packing_error(packed: PackedModel, attention: str, sequences: Sequence[Sequence[int]]) -> float:
    """Mean difference between the log-probabilities of packed rows and of each row alone, in standard deviations.

    `attention` is the implementation by which a row alone is run.
    """
    model = packed.model
    sequences = _shortened(sorted(sequences, key=len)[:CHECK_SEQUENCES])
    if not sequences:
        return 0.0
    mode, head = model.training, model.get_output_embeddings()
    model.eval()
    targets: list[list[Target]] = [[(len(s) // 2, 0, 1.0), (len(s) - 1, 0, 1.0)] for s in sequences]
    (batch,) = packed.batches(sequences, targets)
    rows = batch.target_rows[batch.target_numbers.argsort()].to(model.device)
    weight, bias = head.weight[:CHECK_VOCABULARY], None if head.bias is None else head.bias[:CHECK_VOCABULARY]
    packed_logs = output_head.log_softmax(packed.hidden_states(batch)[rows], weight, bias)
    model.set_attn_implementation(attention)
    plain = PackedModel(model, None)
    states = [
        plain.hidden_states(plain.batches([sequence], [each])[0])[[0, -1]]
        for sequence, each in zip(sequences, targets, strict=True)
    ]
    plain_logs = output_head.log_softmax(torch.cat(states), weight, bias)
    model.set_attn_implementation(tree_attention.NAME)
    model.train(mode)
    return float((packed_logs - plain_logs).abs().mean() / plain_logs.std())


def _shortened(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """The sequences with the first tokens of what they share, and of what each goes on with."""
    same = [len(set(tokens)) == 1 for tokens in zip(*sequences, strict=False)]
    common = [*same, False].index(False)
    prefix = min(common, CHECK_TOKENS)
    return [[*sequence[:prefix], *sequence[common : common + CHECK_TOKENS]] for sequence in sequences]


def _why_not_packed(model: PreTrainedModel, chosen: Chosen) -> str | None:
    """Why a model's rows cannot share a prefix, as far as its class tells."""
    if chosen.attention == "flash_attention_2":
        return "flash_attention_2 has no mask for a tree; hardware.attention sdpa or auto has"
    if getattr(model, "_is_stateful", False):
        return "its layers carry a state from token to token (state space or linear attention)"
    if other := sorted(_layer_types(model) - LAYER_TYPES):
        return f"it has layers of kind {', '.join(other)}"
    return None


def _layer_types(model: PreTrainedModel) -> set[str]:
    return set(getattr(model.config.get_text_config(), "layer_types", None) or [])


def _kernel(chosen: Chosen) -> str:
    """The kernel that `hardware.attention` asks for; see `retune.llm.packing.tree_attention`."""
    if chosen.attention == "eager":
        return "chunks"
    if chosen.attention == "flex_attention":
        return "flex"
    return "auto" if chosen.device.type == "cuda" else "dense"


def _packed_batch(row: PackedRow, targets: Sequence[Sequence[Target]], offsets: np.ndarray) -> PackedBatch:
    flat = [
        (row.paths[place][position], token, weight, offsets[number] + index)
        for place, number in enumerate(row.sequences)
        for index, (position, token, weight) in enumerate(targets[number])
    ]
    return _batch(torch.from_numpy(row.ids)[None], row, flat)


def _padded_batch(
    numbers: list[int], sequences: Sequence[Sequence[int]], targets: Sequence[Sequence[Target]], offsets: np.ndarray
) -> PackedBatch:
    """An ordinary batch; the padding stands at the right, where causal attention cannot see it, and needs no mask."""
    width = max(len(sequences[number]) for number in numbers)
    input_ids = torch.zeros((len(numbers), width), dtype=torch.long)
    flat = []
    for row, number in enumerate(numbers):
        input_ids[row, : len(sequences[number])] = torch.tensor(sequences[number])
        for index, (position, token, weight) in enumerate(targets[number]):
            flat.append((row * width + position, token, weight, offsets[number] + index))
    return _batch(input_ids, None, flat)


def _batch(input_ids: torch.Tensor, row: PackedRow | None, flat: list[tuple[int, int, float, int]]) -> PackedBatch:
    """A batch with its targets: (flat position, token, weight, number among all targets) each."""
    flat.sort(key=lambda target: (target[0], target[3]))
    positions, rows = np.unique(np.array([target[0] for target in flat], dtype=np.int64), return_inverse=True)
    _, tokens, weights, numbers = zip(*flat, strict=True) if flat else ((), (), (), ())
    return PackedBatch(
        input_ids=input_ids,
        row=row,
        head_positions=torch.from_numpy(positions),
        target_rows=torch.from_numpy(rows),
        target_ids=torch.tensor(tokens, dtype=torch.long),
        target_weights=torch.tensor(weights, dtype=torch.float32),
        target_numbers=torch.tensor(np.array(numbers, dtype=np.int64)),
    )


def _by_length(sequences: Sequence[Sequence[int]], budget: int | None) -> list[list[int]]:
    """Sequence numbers by length, in batches whose rows times longest row stay within the budget."""
    batches: list[list[int]] = []
    for number in sorted(range(len(sequences)), key=lambda i: (-len(sequences[i]), i)):
        fits = batches and (budget is None or (len(batches[-1]) + 1) * len(sequences[batches[-1][0]]) <= budget)
        if fits:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches
