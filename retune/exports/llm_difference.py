"""Why an exported LLM answers otherwise than its model: the first of template, tokens, labels, weights, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from retune.exports.openers import causal_lm
from retune.llm import adapter

if TYPE_CHECKING:
    from retune.evaluation.weighted import Floats
    from retune.llm.predictor import PromptedLlm

WIDER = 2
"""Times the tolerance of a probability: the relative difference that rounding makes of a vector behind a layer."""
AROUND = 24
"""Characters that are quoted on each side of the first difference of two texts."""


@dataclass(frozen=True)
class Read:
    """What was read of the rows, by the model or by its folder; arrays are [rows, labels], in the model's order."""

    tokens: Sequence[Sequence[int]]
    texts: Sequence[str]
    log_probs: Floats
    """Before the calibration."""
    layers: Floats
    """[layers + 1, width], behind the embeddings and each layer, of the last token of row 0."""
    temperature: float


def of_model(predictor: PromptedLlm, tokens: list[list[int]], probabilities: Floats, temperature: float) -> Read:
    """Of the model itself; `probabilities` are those before the calibration."""
    whole = adapter.base_of(predictor.model)
    with torch.inference_mode(), adapter.mixed_precision(whole, predictor.chosen):
        states = np.array(causal_lm.layers(whole, tokens[0]))
    texts = [predictor.chat.tokenizer.decode(ids, skip_special_tokens=False) for ids in tokens]
    return Read(tokens, texts, np.log(np.maximum(probabilities, 1e-15)), states, temperature)


def of_folder(said: Mapping[str, Any]) -> Read:
    """Of an exported folder, by what openers/causal_lm.py says."""
    log_probs, states = (np.array(said[name], dtype=np.float64) for name in ("log_probs", "layers"))
    return Read(said["tokens"], said["texts"], log_probs, states, said["fitted"].get("temperature", 1.0))


def first(own: Read, theirs: Read, labels: Sequence[str], tolerance: float) -> str:
    """One sentence: the first place where the exported folder and the model part."""
    if (found := _prompt(own, theirs)) is not None:
        return found
    mine, other = np.exp(own.log_probs), np.exp(theirs.log_probs)
    if np.abs(mine - other).max() > tolerance:
        costs = np.abs(mine[:, :, None] - other[:, None, :]).max(axis=0)  # [ours, theirs]
        places = linear_sum_assignment(costs)[1]
        moved = np.flatnonzero(places != np.arange(len(places)))
        if len(moved) and costs[np.arange(len(places)), places].max() <= tolerance:
            said = ", ".join(f"{labels[int(places[n])]!r} has the probability of {labels[int(n)]!r}" for n in moved)
            return f"labels: they are swapped in the exported folder: {said}"
        return _weights(own, theirs, WIDER * tolerance)
    if abs(theirs.temperature / own.temperature - 1) > 1e-6:
        return (
            f"calibration: the exported folder has the temperature {theirs.temperature:g}, the model was calibrated "
            f"at {own.temperature:g}"
        )
    row = int(np.abs(mine - other).max(axis=1).argmax())
    return f"numbers: prompt, labels and layers agree, but row {row} differs by more than their rounding explains"


def _prompt(own: Read, theirs: Read) -> str | None:
    """The first row whose prompt has other tokens: since the text is another (template), or in the same text."""
    for row, (mine, other) in enumerate(zip(own.tokens, theirs.tokens, strict=True)):
        if mine == other:
            continue
        text, shown = own.texts[row], theirs.texts[row]
        if text != shown:
            at = next((n for n, (a, b) in enumerate(zip(text, shown, strict=False)) if a != b), None)
            at = min(len(text), len(shown)) if at is None else at
            start = max(0, at - AROUND)
            return (
                f"template: the exported folder writes {shown[start : at + AROUND]!r} at character {at} of the prompt "
                f"of row {row}, where the model was trained on {text[start : at + AROUND]!r}"
            )
        at = next(n for n, pair in enumerate(zip([*mine, -1], [*other, -1], strict=False)) if pair[0] != pair[1])
        return (
            f"tokens: the same text is cut differently at token {at} of row {row}: the tokenizer is another one, or "
            "the row's text begins or ends with space, which a chat template's text joins to its own"
        )
    return None


def _weights(own: Read, theirs: Read, tolerance: float) -> str:
    """The first layer behind which the vectors differ."""
    mine, other = own.layers, theirs.layers
    if mine.shape != other.shape:
        return f"weights: the exported model has {len(other) - 1} layers, the model {len(mine) - 1}"
    apart = np.linalg.norm(mine - other, axis=1) / np.maximum(np.linalg.norm(mine, axis=1), 1e-12)
    far = np.flatnonzero(apart > tolerance)
    if not len(far):
        return "weights: all layers agree, the output head differs"
    name = "the embeddings" if far[0] == 0 else f"layer {far[0] - 1} (of {len(mine) - 1}, from 0)"
    return f"weights: {name} is the first whose output differs, by {apart[far[0]]:.1%} of its length"
