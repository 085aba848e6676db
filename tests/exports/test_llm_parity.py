"""An exported LLM answers as the model does, by transformers and peft alone; a folder that does not is told why."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from retune.exports import llm_parity
from retune.learners.llm.predict import load
from tests.support import exported_llm
from tests.support.exported_llm import Tiny, opened_here


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def expected(tiny: Tiny) -> llm_parity.Expected:
    return llm_parity.expected(tiny.model, tiny.base, tiny.spec, tiny.fitted, tiny.rows)


@pytest.fixture(scope="module")
def rows(tiny: Tiny) -> list[dict[str, str]]:
    return tiny.rows.select("text_a", "text_b").to_dicts()


def test_what_is_expected_are_the_calibrated_probabilities_of_the_report(
    tiny: Tiny, expected: llm_parity.Expected
) -> None:
    from retune.inference import decide

    found = decide(load(tiny.model, tiny.base, tiny.spec.hardware).predict(tiny.rows), dict(tiny.fitted), ["0", "1"])
    assert np.allclose(expected.probabilities, found.select("prob_0", "prob_1").to_numpy(), atol=1e-9)
    decided = llm_parity.decisions(expected.probabilities, expected.threshold)
    assert [str(code) for code in decided] == found["label"].to_list()
    assert len(set(decided)) == 2


@pytest.mark.parametrize("form", ["adapter", "merged", "decision", "merged decision"])
def test_every_form_gives_the_models_calibrated_probabilities(
    form: str,
    tiny: Tiny,
    expected: llm_parity.Expected,
    rows: list[dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tiny.export(form, tmp_path / "export")
    found = llm_parity.compare(expected, opened_here(folder, rows, monkeypatch))
    assert found["passed"], found
    assert found["largest"] < 1e-5
    assert found["equal_decisions"] == 1
    assert found["same_tokens"] == 1
    assert found["rows"] == len(rows)


def test_a_folder_that_was_moved_opens_in_a_fresh_process_without_the_project(
    tiny: Tiny, expected: llm_parity.Expected, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    folder = shutil.move(tiny.export("adapter", tmp_path / "export"), tmp_path / "elsewhere")
    found = llm_parity.compare(expected, llm_parity.opened(Path(folder), rows))
    assert found["passed"], found


def json_file(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return broken


def text_file(name: str, old: str, new: str) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return broken


def scaled(name: str, tensor: str) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        weights = load_file(folder / name)
        (found,) = [key for key in weights if tensor in key]
        weights[found] *= 1.5
        save_file(weights, folder / name, {"format": "pt"})

    return broken


BROKEN = {
    "chat template": (
        "merged",
        text_file("chat_template.jinja", "<|im_start|>assistant", "<|im_start|>user"),
        r"template: the exported folder writes .*<\|im_start\|>user.* where the model was trained on .*assistant",
    ),
    "decision template": (
        "merged decision",
        text_file("decision_template.jinja", "2：", "B："),
        r"template: the exported folder writes '.*B：.*row 0, where the model was trained on '.*2：",
    ),
    "labels of the prompt": (
        "merged",
        json_file("prompt.json", lambda card: card["labels"].reverse()),
        "labels: they are swapped in the exported folder: '1' has the probability of '0', '0' has the probability of",
    ),
    "labels of the decision": (
        "merged decision",
        json_file("decision.json", lambda card: card["labels"]["choice"].reverse()),
        "labels: they are swapped in the exported folder",
    ),
    "weight": (
        "merged",
        scaled("model.safetensors", "layers.1.mlp.down_proj"),
        r"weights: layer 1 \(of 2, from 0\) is the first whose output differs, by \d",
    ),
    "adapter's weight": (
        "adapter",
        scaled("adapter_model.safetensors", "layers.0.self_attn.v_proj.lora_B"),
        r"weights: layer 0 \(of 2, from 0\) is the first whose output differs",
    ),
    "head": ("merged", scaled("model.safetensors", "lm_head"), "weights: all layers agree, the output head differs"),
    "temperature": (
        "merged decision",
        json_file("decision.json", lambda card: card["temperature"].update(choice=1.0)),
        "calibration: the exported folder has the temperature 1, the model was calibrated at 1.7",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_wrong_folder_fails_with_a_sentence_that_names_the_cause(
    what: str,
    tiny: Tiny,
    expected: llm_parity.Expected,
    rows: list[dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form, broken, said = BROKEN[what]
    folder = tiny.export(form, tmp_path / "export")
    broken(folder)
    found = llm_parity.compare(expected, opened_here(folder, rows, monkeypatch))
    assert not found["passed"]
    assert re.match(said, found["cause"]), found["cause"]
