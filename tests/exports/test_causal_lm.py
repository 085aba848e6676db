"""The stage's way of exporting an LLM: the form by `merge` and `decision`, parity, retune.load of what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import retune
from retune.errors import RetuneError
from retune.exports.causal_lm import write
from retune.exports.protocol import Built
from retune.params import Params, loads
from tests.support import exported, exported_llm, llm_fit


def built_of(tiny: exported_llm.Tiny, **given: bool) -> Built:
    entry = {"rows": 64, "base_model": None, "language": ["zh"], "datasets": [], "base_entry": {"license": "MIT"}}
    entry |= {"source": {"name": "made-up", "license": "none"}, **given}
    fitted = dict(tiny.fitted)
    return Built("small", tiny.model, tiny.base, tiny.spec, fitted, loads(json.dumps(entry)), exported.METRICS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> exported_llm.Tiny:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize(
    ("merge", "decides", "form"),
    [(False, False, "adapter"), (True, False, "merged"), (False, True, "decision"), (True, True, "decision")],
)
def test_each_form_passes_parity_and_is_read_back_by_retune(
    merge: bool, decides: bool, form: str, tiny: exported_llm.Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    built = built_of(tiny, merge=merge, decision=decides)
    out = exported.export(built, tmp_path / "small")
    found = exported.prove(built, out, tiny.rows)
    assert (found["form"], found["rows"], found["equal_decisions"]) == (form, len(tiny.rows), 1.0)
    assert found["largest_difference"] < 1e-5
    monkeypatch.chdir(tmp_path)
    rows = tiny.rows.select("text_a", "text_b")
    there = retune.load(out).predict(rows)
    said = exported.answers(out, "causal_lm", rows)["answers"]
    assert np.allclose(there.select("prob_0", "prob_1").to_numpy(), said, atol=1e-5)


def test_a_scaled_weight_fails_the_stages_parity_with_its_layer(
    tiny: exported_llm.Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    built = built_of(tiny, merge=True, decision=True)
    out = exported.export(built, tmp_path / "small")
    weights = load_file(out / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] *= 1.5
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    with pytest.raises(RetuneError, match=r"small as decision answers otherwise .* weights: layer 1 \(of 2, from 0\)"):
        exported.prove(built, out, tiny.rows)


def test_what_no_loader_would_read_alike_is_refused(tiny: exported_llm.Tiny, tmp_path: Path) -> None:
    for changes, said in (
        ({"quantization__bits": 4}, "small stands on a base in 4 bits: set `merge: true`"),
        ({"training__thinking": True}, "models that think are not exported yet"),
    ):
        spec: Params = llm_fit.spec_of(**changes)
        with pytest.raises(RetuneError, match=said):
            write(built_of(exported_llm.Tiny(tiny.model, tiny.base, spec, tiny.fitted, tiny.rows)), tmp_path)
    assert not list(tmp_path.iterdir())
