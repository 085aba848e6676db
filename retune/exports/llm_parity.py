"""Whether an exported LLM answers as the model does, by transformers and peft alone, and where they part if not.

The folder is opened in a fresh process without the project's code (openers/causal_lm.py) and compared stage by stage:
the prompt's text, its tokens, the labels, the weights (log-probabilities, layer by layer), the calibration.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from scipy.optimize import linear_sum_assignment

from retune.data import labels
from retune.errors import RetuneError
from retune.evaluation.calibration import calibrated, log_odds
from retune.exports.openers import causal_lm
from retune.learners.llm.predict import load
from retune.llm import adapter
from retune.llm.prompt import prompt, targets

if TYPE_CHECKING:
    from retune.evaluation.weighted import Floats
    from retune.params import Params

TOLERANCE = {"float32": 1e-3, "float16": 0.02, "bfloat16": 0.05, "8 bits": 0.1}
"""Largest difference of a probability, by the coarsest numbers in which the two compute or are kept."""
LAYER = {"float32": 1e-3, "float16": 0.01, "bfloat16": 0.05, "8 bits": 0.2}
"""Largest difference of the vectors behind a layer, relative to their length."""
AROUND = 24
"""Characters that are quoted on each side of the first difference of two texts."""


@dataclass(frozen=True)
class Expected:
    """What the model itself reads and answers; arrays are [rows, labels], in the order of `labels`."""

    labels: list[str]
    tokens: list[list[int]]
    texts: list[str]
    log_probs: Floats
    probabilities: Floats
    layers: Floats  # [layers + 1, width], behind the embeddings and each layer, of the last token of row 0
    temperature: float
    threshold: float | None
    cut: int  # rows left out, since the model reads them cut


def expected(model: Path, base: Path, spec: Params, fitted: Mapping[str, Any], rows: pl.DataFrame) -> Expected:
    """Ask the model of folder `model` the rows that it reads whole; a model that thinks answers without a thought."""
    predictor = load(model, base, spec.hardware)
    chat = predictor.chat
    fitted = fitted.get("direct", fitted) if chat.think else fitted
    encoded = prompt.encode(chat, rows)
    kept = [row for row, truncated in enumerate(encoded.truncated) if not truncated]
    tokens = [[*encoded.ids[row], *targets.think_block(chat, [])] for row in kept]
    table = predictor.predict(rows[kept]).select(labels.names(len(chat.labels))).to_numpy().astype(np.float64)
    logs = np.log(np.maximum(table, 1e-15))
    if table.shape[1] == 2:
        second = calibrated(log_odds(table[:, 0], table[:, 1]), fitted["temperature"])
        probabilities = np.stack([1 - second, second], axis=1)
    else:
        probabilities = np.exp(labels.log_softmax(logs / fitted["temperature"]))
    whole = adapter.base_of(predictor.model)
    states = np.zeros((0, 0))
    if kept:
        with torch.inference_mode(), adapter.mixed_precision(whole, predictor.chosen):
            states = np.array(causal_lm.layers(whole, tokens[0]))
    return Expected(
        labels=list(chat.labels),
        tokens=tokens,
        texts=[chat.tokenizer.decode(ids, skip_special_tokens=False) for ids in tokens],
        log_probs=logs,
        probabilities=probabilities,
        layers=states,
        temperature=float(fitted["temperature"]),
        threshold=fitted.get("threshold"),
        cut=len(rows) - len(kept),
    )


def opened(folder: Path, rows: Sequence[Mapping[str, str]], dtype: str = "float32") -> dict[str, Any]:
    """What the folder answers in a fresh process that can import none of the project's code.

    Raises `RetuneError` with the last line of what that process said where it failed.
    """
    with tempfile.TemporaryDirectory() as place:
        source, out, script = (Path(place) / name for name in ("rows.json", "out.json", "causal_lm.py"))
        source.write_text(json.dumps(list(rows), ensure_ascii=False), encoding="utf-8")
        script.write_bytes(Path(causal_lm.__file__).read_bytes())
        command = [sys.executable, "-I", str(script), str(folder.absolute()), str(source), str(out), dtype]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise RetuneError(f"{folder.name}: transformers can't open the exported folder: {said}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def compare(ours: Expected, theirs: Mapping[str, Any], numbers: str = "float32") -> dict[str, Any]:
    """Rows, largest and mean difference of a probability, share of equal decisions, tolerance, passed, cause.

    `numbers`: a key of `TOLERANCE`. In float32 all decisions must be equal; in coarser numbers those that differ must
    be as near to the threshold, or to the next label, as the tolerance. `cause` is null where it passed.
    """
    tolerance = TOLERANCE[numbers]
    answers = np.array(theirs["answers"], dtype=np.float64).reshape(len(ours.tokens), -1)
    known = sorted(theirs["labels"]) == sorted(ours.labels)
    if known:
        answers = answers[:, [theirs["labels"].index(label) for label in ours.labels]]
    difference = np.abs(answers - ours.probabilities).max(axis=1) if known else np.ones(len(ours.tokens))
    equal = decisions(answers, ours.threshold) == decisions(ours.probabilities, ours.threshold)
    close = equal if numbers == "float32" else equal | (margins(ours.probabilities, ours.threshold) <= tolerance)
    passed = bool(len(difference) and difference.max() <= tolerance and close.all())
    return {
        "rows": len(ours.tokens),
        "cut": ours.cut,
        "largest": float(difference.max(initial=0)),
        "mean": float(difference.mean()) if len(difference) else 0.0,
        "equal_decisions": float(equal.mean()) if len(equal) else 0.0,
        "same_tokens": float(np.mean([a == b for a, b in zip(theirs["tokens"], ours.tokens, strict=True)] or [0.0])),
        "numbers": numbers,
        "tolerance": tolerance,
        "passed": passed,
        "cause": None if passed else cause(ours, theirs, numbers),
    }


def decisions(probabilities: Floats, threshold: float | None) -> np.ndarray:
    """The decided label's place, [rows]."""
    if threshold is not None:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return probabilities.argmax(axis=1)


def margins(probabilities: Floats, threshold: float | None) -> Floats:
    """How far each row is from another decision: half the lead of the first label, or what lies to the threshold."""
    if threshold is not None:
        return np.abs(probabilities[:, 1] - threshold)
    top = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray((top[:, 1] - top[:, 0]) / 2)


def cause(ours: Expected, theirs: Mapping[str, Any], numbers: str) -> str:
    """One sentence: the first place where the exported folder and the model part."""
    if not ours.tokens:
        return f"rows: all {ours.cut} rows are longer than the model reads, so nothing could be compared"
    if (found := _prompt(ours, theirs)) is not None:
        return found
    if unknown := set(theirs["labels"]) ^ set(ours.labels):
        return f"labels: {', '.join(map(repr, sorted(unknown)))} stand on one side only"
    logs = np.array(theirs["log_probs"], dtype=np.float64)[:, [theirs["labels"].index(name) for name in ours.labels]]
    mine, other = np.exp(ours.log_probs), np.exp(logs)
    tolerance = TOLERANCE[numbers]
    if np.abs(mine - other).max() > tolerance:
        costs = np.abs(mine[:, :, None] - other[:, None, :]).max(axis=0)  # [ours, theirs]
        places = linear_sum_assignment(costs)[1]
        moved = np.flatnonzero(places != np.arange(len(places)))
        if len(moved) and costs[np.arange(len(places)), places].max() <= tolerance:
            said = ", ".join(f"{ours.labels[places[n]]!r} has the probability of {ours.labels[n]!r}" for n in moved)
            return f"labels: they are swapped in the exported folder: {said}"
        return _weights(ours, theirs, LAYER[numbers])
    if abs(theirs["temperature"] / ours.temperature - 1) > 1e-6:
        return (
            f"calibration: the exported folder has the temperature {theirs['temperature']:g}, the model was calibrated "
            f"at {ours.temperature:g}"
        )
    row = int(np.abs(mine - other).max(axis=1).argmax())
    return f"numbers: prompt, labels and layers agree, but row {row} differs by more than {numbers} explain"


def _prompt(ours: Expected, theirs: Mapping[str, Any]) -> str | None:
    """The first row whose prompt has other tokens: since the text is another (template), or in the same text."""
    for row, (mine, other) in enumerate(zip(ours.tokens, theirs["tokens"], strict=True)):
        if mine == other:
            continue
        text, shown = ours.texts[row], theirs["texts"][row]
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


def _weights(ours: Expected, theirs: Mapping[str, Any], tolerance: float) -> str:
    """The first layer behind which the vectors differ."""
    mine, other = ours.layers, np.array(theirs["layers"])
    if mine.shape != other.shape:
        return f"weights: the exported model has {len(other) - 1} layers, the model {len(mine) - 1}"
    apart = np.linalg.norm(mine - other, axis=1) / np.maximum(np.linalg.norm(mine, axis=1), 1e-12)
    far = np.flatnonzero(apart > tolerance)
    if not len(far):
        return "weights: all layers agree, the output head differs"
    name = "the embeddings" if far[0] == 0 else f"layer {far[0] - 1} (of {len(mine) - 1}, from 0)"
    return f"weights: {name} is the first whose output differs, by {apart[far[0]]:.1%} of its length"
