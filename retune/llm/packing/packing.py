"""Token sequences through a causal LM: every distinct history once, and the output head only where a target stands.

`PackedModel.batches` turns sequences and their targets into batches; `loss`, `log_probs` and `logits` run them. The
values equal those of running each sequence alone, forwards and backwards, but for rounding. That holds for a model
whose tokens know each other through attention alone; `prepare` proves it on real sequences before it is relied on,
against the model's own logits, and takes ordinary padded batches, with a warning that says why, for any other model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from retune.errors import RetuneError
from retune.llm.packing import head_form, last_layer, output_head, prefix_tree, proof, rope, tree_attention
from retune.llm.packing.batches import PackedBatch, Target, by_length, packed_batch, padded_batch
from retune.llm.packing.tree_attention import KeyValues, Tree
from retune.training import out_of_memory
from retune.training.layers import decoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

LAYER_TYPES = {"full_attention", "sliding_attention"}
"""Kinds of layers in which a token depends on the tokens that it may see and on their positions alone."""
INFERENCE_TOKENS = 4096
"""Tokens of one forward pass without a gradient."""


class PackedModel:
    """A causal LM and the way it runs sequences: packed by `kernel`, or as padded batches where `kernel` is None.

    With `single` each sequence is a batch of its own. `head` None: only the model's own forward pass tells its logits.
    """

    def __init__(self, model: PreTrainedModel, kernel: str | None = "auto", single: bool = False) -> None:
        self.model, self.kernel, self.single = model, kernel, single
        self.head, self.length_limit = head_form.of(model), rope.length_limit(model)
        self.limit = out_of_memory.Limit(INFERENCE_TOKENS, "tokens", "label scoring")
        if kernel is not None:
            tree_attention.register()
            model.set_attn_implementation(tree_attention.NAME)
            last_layer.skip_unread_positions(model)

    def batches(
        self, sequences: Sequence[Sequence[int]], targets: Sequence[Sequence[Target]], budget: int | None = None
    ) -> list[PackedBatch]:
        """Batches of at most `budget` tokens (a longer sequence has one of its own) of all sequences.

        A sequence at whose length rotary positions change stands alone.
        """
        offsets = np.cumsum([0, *map(len, targets)])  # (sequences + 1,) targets before each sequence
        most = self.length_limit
        alone = [n for n, ids in enumerate(sequences) if self.single or (most is not None and len(ids) > most)]
        rest = sorted(set(range(len(sequences))) - set(alone))
        if self.kernel is None:
            batches = [padded_batch(rows, sequences, targets, offsets) for rows in by_length(rest, sequences, budget)]
        else:
            rows = prefix_tree.pack([sequences[number] for number in rest], budget)
            batches = [packed_batch(row, rest, targets, offsets) for row in rows]
        return batches + [padded_batch([number], sequences, targets, offsets) for number in alone]

    def loss(self, batch: PackedBatch) -> torch.Tensor:
        """Sum over the batch's targets of weight times cross-entropy: a scalar, with a gradient."""
        device = self.model.device
        rows, ids, weights = (t.to(device) for t in (batch.target_rows, batch.target_ids, batch.target_weights))
        if self.head is None:
            return -(self._own_logits(batch).log_softmax(-1)[rows, ids] * weights).sum()
        return output_head.loss(self.hidden_states(batch), self.head, rows, ids, weights)

    def log_probs(self, batch: PackedBatch) -> torch.Tensor:
        """Log-probability of each target of the batch: float32 (targets,), on the CPU."""
        rows, ids = (tensor.to(self.model.device) for tensor in (batch.target_rows, batch.target_ids))
        if self.head is None:
            return self._own_logits(batch).log_softmax(-1)[rows, ids].cpu()
        return output_head.log_probs(self.hidden_states(batch), self.head, rows, ids).cpu()

    def logits(self, batch: PackedBatch, key_values: KeyValues | None = None) -> torch.Tensor:
        """Logit of each target of the batch: float32 or wider (targets,), on the CPU."""
        rows, ids = (tensor.to(self.model.device) for tensor in (batch.target_rows, batch.target_ids))
        if self.head is None:
            return self._own_logits(batch, key_values)[rows, ids].cpu()
        return output_head.logits(self.hidden_states(batch, key_values), self.head, rows, ids).cpu()

    def prefill(self, batch: PackedBatch) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
        """Keys and values, each (key-value heads, tokens of the batch, d), of every layer; and what `logits` gives.

        Needs a kernel.
        """
        key_values: KeyValues = {}
        logits = self.logits(batch, key_values)
        return [key_values[layer] for layer in sorted(key_values)], logits

    def hidden_states(self, batch: PackedBatch, key_values: KeyValues | None = None) -> torch.Tensor:
        """Last hidden states at `batch.head_positions`: (positions, width); keys and values go to `key_values`."""
        positions = batch.head_positions.to(self.model.device)
        states = decoder_of(self.model)(**self._inputs(batch, positions, key_values)).last_hidden_state
        return states.flatten(0, 1).index_select(0, positions)

    def _own_logits(self, batch: PackedBatch, key_values: KeyValues | None = None) -> torch.Tensor:
        """Logits at `batch.head_positions` by the model's own forward pass: float32 or wider (positions, tokens)."""
        positions = batch.head_positions.to(self.model.device)
        inputs = self._inputs(batch, positions, key_values)
        if len(batch.input_ids) == 1 and proof.takes_logits_to_keep(self.model):
            logits = self.model(**inputs, logits_to_keep=positions).logits[0]
        else:
            logits = self.model(**inputs).logits.flatten(0, 1).index_select(0, positions)
        return logits.to(output_head.accumulation_dtype(logits))

    def all_logits(self, batch: PackedBatch) -> torch.Tensor:
        """Logits of the whole vocabulary at `batch.head_positions`: float32 or wider (positions, vocabulary)."""
        if self.head is None:
            return self._own_logits(batch)
        return output_head.all_logits(self.hidden_states(batch), self.head)

    def _inputs(self, batch: PackedBatch, positions: torch.Tensor, key_values: KeyValues | None) -> dict[str, Any]:
        device = self.model.device
        inputs: dict[str, Any] = {"input_ids": batch.input_ids.to(device), "use_cache": False}
        if batch.row is not None:
            inputs["tree"] = Tree(batch.row, device, self.kernel or "auto", positions, key_values)
            inputs["position_ids"] = torch.from_numpy(batch.row.depth)[None].to(device)
            inputs["attention_mask"] = self._no_mask()
        if self.length_limit is not None:
            rope.forget(self.model)
        return inputs

    def _no_mask(self) -> Any:
        """What keeps a model from making a causal mask of its own; the tree's attention does not read it."""
        types = set(getattr(self.model.config.get_text_config(), "layer_types", None) or LAYER_TYPES)
        return dict.fromkeys(types) if len(types) > 1 and _layer_types(self.model) else torch.zeros(1, 1, 1, 1)


def prepare(model: PreTrainedModel, chosen: Chosen, sequences: Sequence[Sequence[int]]) -> PackedModel:
    """The fastest way that is right for this model; proven on the first of `sequences`, and logged with its reason.

    Raises `RetuneError` for a model with which no way gives its own logits, such as one that reads what is to come.
    """
    name, sequences = model.config.model_type, proof.shortened(sequences)
    mode = model.training
    model.eval()
    with proof.narrow_windows(model, sequences):
        attention, wanted = _own_logits(model, sequences)
        why = _why_not_packed(model, chosen)
        if why is None:
            packed, why = _proven(model, _kernel(chosen), sequences, wanted)
            if packed is None:
                model.set_attn_implementation(attention)
        else:
            packed = None
        if packed is None:
            log.warning("%s runs without shared prefixes, in ordinary padded batches: %s", name, why)
            packed, why = _proven(model, None, sequences, wanted)
        if packed is None:
            log.warning("%s runs row by row, without batches: padded, %s", name, why)
            packed, why = _proven(model, None, sequences, wanted, single=True)
    model.train(mode)
    if packed is None:
        raise RetuneError(
            f"{name} gives other logits in every way of running it than behind each token alone ({why}); a model whose "
            "tokens read what follows them is no causal language model: use another base"
        )
    if packed.kernel is not None:
        log.info("shared prefixes %s: %s", packed.kernel, tree_attention.kernel_reason(model.device))
    if packed.head is None:
        log.warning("%s runs through its own output head, whose logits are no scaled product with one matrix", name)
    return packed


def _own_logits(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> tuple[str, torch.Tensor]:
    """An attention that the model can run by, its own if possible, and its logits behind both targets of each sequence.

    (sequences * 2, vocabulary), each computed without what follows.
    """
    attention = model.config._attn_implementation
    rows = [ids[: position + 1] for ids in sequences for position in _checked(ids)]
    try:
        return attention, torch.stack([proof.own_logits(model, ids) for ids in rows]) if rows else torch.empty(0, 1)
    except ValueError as error:
        if attention == "eager" or not rows:
            raise
        log.info("attention eager: %s does not fit %s (%s)", attention, model.config.model_type, error)
    model.set_attn_implementation("eager")
    return "eager", torch.stack([proof.own_logits(model, ids) for ids in rows])


def _checked(ids: Sequence[int]) -> tuple[int, int]:
    """Positions behind which logits are compared."""
    return (len(ids) - 1) // 2, len(ids) - 1


@torch.no_grad()
def _proven(
    model: PreTrainedModel, kernel: str | None, sequences: list[list[int]], wanted: torch.Tensor, single: bool = False
) -> tuple[PackedModel | None, str]:
    """The model run so, if it gives the `wanted` logits; else None and why not."""
    try:
        packed = PackedModel(model, kernel, single)
        if not sequences:
            return packed, ""
        targets: list[list[Target]] = [[(position, 0, 1.0) for position in _checked(ids)] for ids in sequences]
        found = torch.empty_like(wanted)
        for batch in packed.batches(sequences, targets):
            found[batch.target_numbers.to(found.device)] = packed.all_logits(batch)[batch.target_rows.to(found.device)]
    except tree_attention.UnreadKeyword as error:
        return None, str(error)
    except Exception as error:  # whatever a model of another make raises, it can run in another way
        if out_of_memory.is_oom(error):
            raise
        return None, f"it stops with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    difference = proof.difference(found, wanted)
    if difference <= proof.limit(model):
        return packed, ""
    return None, f"its log-probabilities differ by {difference:.2g} standard deviations from those of each row alone"


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
