"""Does an exported folder answer as the model does? Asked of its ecosystem's own loader, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune import learners
from retune.data import kinds, labels
from retune.errors import RetuneError
from retune.evaluation.decided import confidences
from retune.evaluation.predictions import limited
from retune.exports import difference
from retune.exports.decisions import decide
from retune.exports.folder import read_card
from retune.exports.protocol import PLAIN
from retune.training import provenance

if TYPE_CHECKING:
    from retune.exports.protocol import Built, Form
    from retune.params import Params

FILE = "parity.json"

TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int8": 1e-1}
"""Numbers of the folder -> difference of a probability (or score) that their rounding may make.

`int8`: a base that training computed in 8 bits, activations included, which the folder does not.
"""

ROUNDING = 1e-5
"""In float32 a decision may be another one only where it hangs on less than this: rounding, of which 4e-6 was seen."""

CUTS = ("threshold", "abstain_below", "none_below", "estimate", "scale", "bias")
"""What is fitted beside the temperature, and makes decisions of probabilities or scores."""

OPENERS = Path(__file__).parent / "openers"
OFFLINE = ("HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "TOKENIZERS_PARALLELISM=false")


def prove(built: Built, form: Form, out: Path, rows: pl.DataFrame) -> dict[str, Any]:
    """Compare the folder `out` with the model on `given.rows` of the calibration rows; what parity.json says.

    `largest_difference` and `mean_difference` of calibrated probabilities (or of scores); `equal_decisions`: the share
    of rows with the same label, of queries with the same best document, of rows with the same rounded score. Rows that
    are cut as no other loader cuts (in their middle, or an LLM's) are left out and counted as `cut`. Raises
    `RetuneError` where a difference is beyond the tolerance, or a decision is another one though the model's
    probability is not that near to its threshold (or to the next label): in float32 `ROUNDING`, else the tolerance. It
    says where the first one is.
    """
    card, spec = read_card(out), built.spec
    rows = limited(rows, built.given.rows, kinds.of(spec.kind))
    predictor = learners.load(spec, built.folder, built.base, PLAIN)  # no generation: an LLM answers without a thought
    predicted = predictor.predict(rows)
    own_way = spec.learner == "llm" or spec.get("training", {}).get("truncation") == "middle"
    kept = ~predicted["truncated"] if own_way else pl.repeat(True, len(rows), eager=True)
    cut = len(rows) - int(kept.sum())
    rows, predicted = rows.filter(kept), predicted.filter(kept)
    if rows.is_empty():
        raise RetuneError(f"{built.name}: each of {cut} rows is cut at max_length, so none can be compared")
    own = probabilities(predicted, spec, built.fitted)
    said = answers(out, card.opener, rows.select(built.columns))
    theirs, tokens = np.array(said["answers"], dtype=np.float64), said["tokens"]
    apart, tolerance = np.abs(own - theirs), TOLERANCE[card.dtype]
    if not np.isfinite(theirs).all() or apart.max() > tolerance:
        if explain := getattr(form, "explain", None):
            where = explain(built, predictor, rows, said, card.dtype)
        else:
            ids = form.token_ids(predictor, rows)
            where = difference.first(own, theirs, ids, tokens, spec.get("labels"), built, out)
        raise RetuneError(
            f"{built.name} as {card.form} answers otherwise than the model: a difference of {apart.max():.3g} in row "
            f"{rows['id'][int(apart.max(axis=1).argmax())]}, where {card.dtype} allows {tolerance:g}. {where}"
        )
    # where a folder says twice what was fitted, for retune.load and for others, both must be right
    theirs_fitted = [card.calibration, *([said["fitted"]] if "fitted" in said else [])]
    equal = decisions(own, rows, spec, built.fitted) == decisions(theirs, rows, spec, theirs_fitted[-1])
    moved = {name: one.get(name) for name in CUTS for one in theirs_fitted if one.get(name) != built.fitted.get(name)}
    rounding = min(tolerance, ROUNDING) if card.dtype == "float32" else tolerance
    if moved or not (equal | near(own, rows, spec, built.fitted, rounding)).all():
        why = [f"its {name} is {value}, the model's {built.fitted.get(name)}" for name, value in moved.items()]
        raise RetuneError(
            f"{built.name} as {card.form} has the model's probabilities, but decides {int((~equal).sum())} of "
            f"{len(equal)} otherwise: {'; '.join(why) or f'they hang on more than {rounding:g}'}"
        )
    return {
        "form": card.form,
        "loader": loader(card.form),
        "dtype": card.dtype,
        "rows": len(rows),
        "cut": cut,
        "largest_difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
        "equal_decisions": float(equal.mean()),
        "tolerance": tolerance,
    }


def loader(form: str) -> str:
    """The package that opens a form, with its version."""
    names = {
        "skops": "skops",
        "adapter": "peft",
        "onnx": "onnxruntime",
        **dict.fromkeys(("transformers", "merged", "decision"), "transformers"),
    }
    (said,) = provenance.installed([names.get(form, "sentence-transformers")]).items()
    return " ".join(said)


def answers(folder: Path, opener: str, rows: pl.DataFrame) -> dict[str, Any]:
    """What a script of `openers` says to `rows`: {answers [rows][numbers], tokens}; without PYTHONPATH, offline.

    Raises `RetuneError` with its last line where it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        asked, out = Path(place) / "rows.json", Path(place) / "answers.json"
        asked.write_text(json.dumps(rows.to_dicts(), ensure_ascii=False), encoding="utf-8")
        opened = map(str, (OPENERS / f"{opener}.py", folder.absolute(), asked, out))
        # by `env`: strict stages let nobody read the variables as a whole, which the child inherits
        command = ["env", *OFFLINE, sys.executable, "-I", *opened]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RetuneError(f"the loader {opener} can't open {folder.name}: {last}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def probabilities(predicted: pl.DataFrame, spec: Params, fitted: dict[str, Any]) -> np.ndarray:
    """Calibrated probabilities [rows, labels] of a learner's predictions, or its scores [rows, 1]."""
    if "prob_0" not in predicted.columns:
        return predicted.select("score").to_numpy().astype(np.float64)
    if spec.kind == "scoring":
        table = predicted.select(labels.names(len(spec.labels))).to_numpy().astype(np.float64)
        return np.exp(labels.log_softmax(np.log(np.maximum(table, 1e-15)) / fitted["temperature"]))
    found = decide(predicted, fitted, spec.labels)
    return found.select(f"prob_{name}" for name in spec.labels).to_numpy()


def decisions(found: np.ndarray, rows: pl.DataFrame, spec: Params, fitted: dict[str, Any]) -> np.ndarray:
    """What is decided: of each row its label (-1: kept back) or rounded score, of each query its best document."""
    if spec.kind == "ranking":
        table = rows.select("query").with_columns(score=found[:, 0], place=pl.int_range(pl.len()))
        best = table.sort("score", "place", descending=[True, False]).group_by("query", maintain_order=True).first()
        return best.sort("query")["place"].to_numpy()
    if found.shape[1] == 1:
        return np.round(found[:, 0])
    codes = _codes(found, fitted)
    kept = confidences(found, codes) >= fitted.get("abstain_below", 0.0)
    return np.where(kept, codes, -1)


def _codes(found: np.ndarray, fitted: dict[str, Any]) -> np.ndarray:
    if "threshold" in fitted:
        return (found[:, 1] >= fitted["threshold"]).astype(np.int64)
    return np.asarray(found.argmax(axis=1))


def near(own: np.ndarray, rows: pl.DataFrame, spec: Params, fitted: dict[str, Any], tolerance: float) -> np.ndarray:
    """Which of the `decisions` may become others where each number moves by the tolerance."""
    if spec.kind == "ranking":
        scores = rows.select("query").with_columns(score=own[:, 0]).sort("score", descending=True)
        lead = pl.col("score").first() - pl.col("score").slice(1).first()
        leads = scores.group_by("query", maintain_order=True).agg(lead).sort("query")["score"]
        return (leads <= 2 * tolerance).fill_null(False).to_numpy()
    if own.shape[1] == 1:
        return np.asarray(np.abs(own[:, 0] % 1 - 0.5) <= tolerance)
    unsure = np.abs(confidences(own, _codes(own, fitted)) - fitted.get("abstain_below", -1.0)) <= tolerance
    if "threshold" in fitted:
        return np.asarray(unsure | (np.abs(own[:, 1] - fitted["threshold"]) <= tolerance))
    top = np.sort(own, axis=1)[:, -2:]
    return np.asarray(unsure | (top[:, 1] - top[:, 0] <= 2 * tolerance))


def words(found: dict[str, Any]) -> str:
    """One line for the log."""
    return (
        f"parity: {found['rows']} rows by {found['loader']}, largest difference {found['largest_difference']:.2g}, "
        f"equal decisions {found['equal_decisions']:.1%}" + (f"; {found['cut']} cut rows left out" * bool(found["cut"]))
    )
