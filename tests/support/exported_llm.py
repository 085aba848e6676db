"""A tiny trained LLM, its exported folders, and their answers by the opener's code in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from retune.exports import decision, llm
from retune.exports.openers import causal_lm
from retune.params import Params
from tests.support import llm_fit, tiny_llm

ANSWERS = {"0": "B", "1": "A"}
"""Of one token each in the tiny tokenizer."""
FITTED = {"temperature": 1.7, "threshold": 0.3}


@dataclass(frozen=True)
class Tiny:
    """A model folder with its base, its section, and what calibrate fitted."""

    model: Path
    base: Path
    spec: Params
    fitted: Mapping[str, Any]
    rows: pl.DataFrame

    def export(self, form: str, out: Path, **more: Any) -> Path:
        """Write `adapter`, `merged`, `decision` (base and adapter) or `merged decision` into `out`."""
        out.mkdir(parents=True)
        if form == "adapter":
            llm.write_adapter(self.model, self.base, out)
        elif form == "decision":
            decision.write_model(self.model, self.base, out)
        else:
            llm.write_merged(self.model, self.base, self.spec, out, **more)
        if "decision" in form:
            decision.write(self.spec, self.base, self.fitted, out, adapter=form == "decision")
        else:
            llm.write_prompt(self.spec, self.base, self.fitted, out)
        return out


def fitted(folder: Path, family: str = "qwen2", fitted: Mapping[str, Any] = FITTED, **changes: Any) -> Tiny:
    """Train a tiny model below `folder`."""
    base = tiny_llm.tiny_llm(folder / "base", family)
    spec = llm_fit.spec_of(**{"training__epochs": 1.0, "prompt": {**llm_fit.PROMPT, "answers": ANSWERS}, **changes})
    llm_fit.fit(spec, base, folder / "model")
    return Tiny(folder / "model/out", base, spec, fitted, llm_fit.DEV)


def opened_here(folder: Path, rows: list[dict[str, str]], patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the opener's script writes, without the seconds that a fresh process takes."""
    source, out = folder.parent / "rows.json", folder.parent / "out.json"
    source.write_text(json.dumps(rows, ensure_ascii=False))
    patch.chdir(folder)
    patch.setattr("sys.argv", ["causal_lm.py", str(folder), str(source), str(out)])
    threads = torch.get_num_threads()
    causal_lm.main()
    torch.set_num_threads(threads)
    found: dict[str, Any] = json.loads(out.read_text())
    return found
