"""A tiny trained LLM as an export finds it, and its folders in each form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from retune import learners
from retune.exports import parity
from retune.exports.protocol import PLAIN, Built
from retune.params import Params, loads
from tests.support import exported, llm_fit, tiny_llm

ANSWERS = {"0": "B", "1": "A"}
"""Of one token each in the tiny tokenizer."""
FITTED = {"temperature": 1.7, "threshold": 0.3}
ROWS = llm_fit.DEV
FORMS = {"adapter": (False, False), "merged": (True, False), "decision": (False, True), "merged decision": (True, True)}
"""Name -> `merge` and `decision` of its entry."""


def fitted(folder: Path, fitted: Mapping[str, Any] = FITTED, **changes: Any) -> Built:
    """Train a tiny model below `folder`."""
    spec = llm_fit.spec_of(**{"training__epochs": 1.0, "prompt": {**llm_fit.PROMPT, "answers": ANSWERS}, **changes})
    base = tiny_llm.tiny_llm(folder / "base")
    llm_fit.fit(spec, base, folder / "model")
    return built(folder / "model/out", base, spec, fitted)


def untrained(folder: Path, fitted: Mapping[str, Any] = FITTED, **changes: Any) -> Built:
    """A tiny base below `folder` behind a task's prompt."""
    spec, model = llm_fit.spec_of(training__epochs=0, **changes), folder / "model"
    model.mkdir()
    (model / "spec.json").write_text(json.dumps(spec))
    return built(model, tiny_llm.tiny_llm(folder / "base"), spec, fitted)


def built(model: Path, base: Path, spec: Params, fitted: Mapping[str, Any]) -> Built:
    """A model folder as an export finds it."""
    given = {"rows": 64, "merge": False, "decision": False, "dtype": "float32", "base_model": None, "language": ["zh"]}
    given |= {
        "confidence": 0.95,
        "license": None,
        "datasets": [],
        "base_entry": {"license": "MIT"},
        "source": {"name": "made-up", "license": "none"},
    }
    return Built("small", model, base, spec, dict(fitted), loads(json.dumps(given)), exported.METRICS)


def export(built: Built, form: str, out: Path, **given: Any) -> Path:
    """Write one of FORMS, with its export.json, into `out`."""
    merge, decides = FORMS[form]
    entry = Params({**built.given, "merge": merge, "decision": decides, **given})
    return exported.export(dataclasses.replace(built, given=entry), out)


def answers(folder: Path, rows: pl.DataFrame) -> dict[str, Any]:
    """What the opener's script says of the rows' texts, in this process."""
    return exported.answers(folder, "causal_lm", rows)


def probabilities(built: Built, rows: pl.DataFrame = ROWS) -> np.ndarray:
    """The model's own calibrated probabilities [rows, labels]."""
    predicted = learners.load(built.spec, built.folder, built.base, PLAIN).predict(rows)
    return parity.probabilities(predicted, built.spec, built.fitted)
