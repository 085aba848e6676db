"""A folder of an LLM that was broken fails parity with a sentence that names the cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from retune.errors import RetuneError
from retune.exports.protocol import Built
from tests.support import exported, exported_llm

pytestmark = pytest.mark.slow


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
    "other labels": (
        "merged",
        json_file("prompt.json", lambda card: card.update(labels=["no", "yes"])),
        "it answers with the labels no, yes, the model with 0, 1",
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
    "threshold": (
        "merged decision",
        json_file("decision.json", lambda card: card.update(threshold=0.9)),
        r"has the model's probabilities, but decides \d+ of 20 otherwise: its threshold is 0.9, the model's 0.3",
    ),
    "threshold of retune.load": (
        "merged decision",
        json_file("export.json", lambda card: card["calibration"].pop("threshold")),
        r"decides 0 of 20 otherwise: its threshold is None, the model's 0.3",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_wrong_folder_fails_with_a_sentence_that_names_the_cause(what: str, tiny: Built, tmp_path: Path) -> None:
    form, broken, said = BROKEN[what]
    out = exported_llm.export(tiny, form, tmp_path / "small")
    broken(out)
    with pytest.raises((RetuneError, SystemExit), match=said):  # the script ends, here in this process
        exported.prove(tiny, out, exported_llm.ROWS)
