"""Why an exported folder answers otherwise than its model, as far as the answers and the files can tell."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file

from retune import exports, learners

if TYPE_CHECKING:
    from retune.exports.protocol import Built

TINY = 1e-12
READERS = {".safetensors": None, ".skops": "retune.exports.linear", ".onnx": "retune.exports.onnx_graph"}
"""Suffix of a file with weights -> the module whose `tensors` reads it, if that is ours."""


def first(
    own: np.ndarray,
    theirs: np.ndarray,
    own_tokens: Sequence[Sequence[int]] | None,
    their_tokens: Sequence[Sequence[int]] | None,
    labels: Sequence[str] | None,
    built: Built,
    out: Path,
) -> str:
    """One sentence: the first of template, tokens, labels, calibration and weights that is not the model's."""
    return (
        _tokens(own_tokens, their_tokens)
        or _labels(own, theirs, labels or ())
        or _calibration(own, theirs)
        or _weights(built, out)
        or "Tokens, labels, calibration and weights are the same: the loader computes another model of them."
    )


def _tokens(own: Sequence[Sequence[int]] | None, theirs: Sequence[Sequence[int]] | None) -> str | None:
    """The first row whose token ids differ; where all rows lack or have the same ones more, it is a template."""
    if own is None or theirs is None:
        return None
    apart = [row for row, (a, b) in enumerate(zip(own, theirs, strict=True)) if list(a) != list(b)]
    if not apart:
        return None
    counts = [(Counter(own[row]), Counter(theirs[row])) for row in apart]
    moved = {tuple(tuple(sorted(one.elements())) for one in (a - b, b - a)) for a, b in counts}
    if len(apart) == len(own) and len(moved) == 1 and (found := moved.pop()) != ((), ()):
        said = [f"{word} the token ids {list(ids)}" for word, ids in zip(("lacks", "adds"), found, strict=True) if ids]
        return (
            f"The first difference is in the template (or the prefix): it {' and '.join(said)} in all {len(own)} rows."
        )
    row = apart[0]
    a, b = own[row], theirs[row]
    place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    ours, other = (ids[place] if place < len(ids) else "the end" for ids in (a, b))
    return (
        f"The first difference is in the tokens: {len(apart)} of {len(own)} rows are read as other ids, in row {row} "
        f"{other} at place {place} where the model reads {ours}: another tokenizer, or another length to cut at."
    )


def _labels(own: np.ndarray, theirs: np.ndarray, labels: Sequence[str]) -> str | None:
    """Columns in another order."""
    if own.shape[1] < 2 or own.shape != theirs.shape:
        return None
    places = [int(np.abs(theirs - own[:, [code]]).max(axis=0).argmin()) for code in range(own.shape[1])]
    if places == sorted(places) or len(set(places)) < len(places) or np.abs(own - theirs[:, places]).max() > 1e-3:
        return None
    moved = [code for code, place in enumerate(places) if code != place]
    code = moved[0]
    return (
        f"The first difference is in the labels: {len(moved)} of {len(labels)} are exchanged; what the model calls "
        f"{labels[code]} is called {labels[places[code]]}."
    )


def _calibration(own: np.ndarray, theirs: np.ndarray) -> str | None:
    """Log-odds that are the model's times one number, or plus one."""
    a, b = (_logits(one) for one in (own, theirs))
    if a.size < 2 or (a**2).sum() < TINY:
        return None
    factor = float((a * b).sum() / (a**2).sum())
    if factor > 0 and abs(factor - 1) > 1e-3 and np.abs(b - factor * a).max() < 1e-2 * np.abs(b).max():
        what = "scores" if own.shape[1] == 1 else "log-odds"
        return f"The first difference is in the calibration: all {what} are the model's times {factor:.4g}."
    shift = float((b - a).mean())
    if abs(shift) > 1e-3 and own.shape[1] == 1 and np.abs(b - a - shift).max() < 1e-3:
        return f"The first difference is in the calibration: all scores are the model's plus {shift:.4g}."
    return None


def _logits(found: np.ndarray) -> np.ndarray:
    """Centred log-probabilities, or the scores as they are."""
    if found.shape[1] == 1:
        return found
    logs = np.log(np.maximum(found, TINY))
    centred: np.ndarray = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _weights(built: Built, out: Path) -> str | None:
    """The first tensor that differs from those of a folder that is written anew."""
    with tempfile.TemporaryDirectory() as place:
        again = Path(place) / out.name
        again.mkdir()
        exports.of(learners.package(built.spec), bool(built.given.get("onnx"))).write(built, again)
        for file in sorted(file for file in again.rglob("*") if file.suffix in READERS):
            name = file.relative_to(again)
            if not (out / name).is_file():
                return f"The first difference is in the weights: {name} is missing."
            right, found = tensors(file), tensors(out / name)
            for tensor, value in right.items():
                if said := _tensor(value, found.get(tensor)):
                    return f"The first difference is in the weights: {tensor} of {name} {said}."
    return None


def tensors(file: Path) -> dict[str, Any]:
    """The weights in a file by their names."""
    reader = READERS[file.suffix]
    found: dict[str, Any] = import_module(reader).tensors(file) if reader else load_file(file)
    return found


def _tensor(right: np.ndarray, found: Any) -> str | None:
    if found is None:
        return "is missing"
    if right.shape != found.shape:
        return f"has the shape {list(found.shape)} and not {list(right.shape)}"
    if np.array_equal(right, found):
        return None
    if right.dtype.kind not in "biuf":
        places = np.flatnonzero(right != found)
        return f"has {found[places[0]]!r} at place {places[0]} and not {right[places[0]]!r}"
    where = right != 0
    ratios = found[where] / right[where]
    if ratios.size and np.ptp(ratios) < 1e-3 * abs(ratios[0]):
        return f"is the model's times {float(ratios[0]):.4g}"
    return f"differs by {float(np.abs(found - right).max()):.3g}"
