"""What is wrong with an entry of `exports` is said before anything is built."""

from __future__ import annotations

import pytest

from retune.errors import RetuneError
from retune.pipeline.fingerprint import Code
from retune.pipeline.resolve import resolve
from tests.support import ROOT
from tests.support.declarations import write

PLAIN = "exports:\n  out: {model: plain, task: questions, base: scratch}\n"


def changed(folder, text):
    write(folder)
    with (folder / "params.yaml").open("a") as file:
        file.write(text)
    return resolve(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exports:\n  out: {model: plane, task: questions, base: scratch}\n", "did you mean `plain`"),
        (
            "exports:\n  out: {model: plain, task: question, base: scratch}\n",
            "is question, but models.plain.task is quest",
        ),
        ("exports:\n  out: {model: plain, task: questions, base: llm}\n", "is llm, but models.plain.base is scratch"),
        ("exports:\n  out: {model: plain, task: questions, base: scratch, rows: 9}\n", "params.yaml"),
        ("exports:\n  out: {model: plain}\n", "task"),
        (
            "exports:\n  out: {model: chatty, task: questions, base: llm, onnx: int8}\n",
            "is for encoders and embedders, and chatty is of learner llm: leave it out",
        ),
        ("exports:\n  out: {model: cross, task: questions, base: encoder, onnx: int4}\n", "float32"),
        (
            "quantization: {bits: 4}\nexports:\n  out: {model: chatty, task: questions, base: llm, merge: false}\n",
            "exports.out.merge: models.chatty stands on a base in 4 bits, which others read in other numbers: write",
        ),
    ],
)
def test_a_mistake_is_said_with_its_remedy(tmp_path, text, said):
    with pytest.raises(RetuneError) as raised:
        changed(tmp_path, text)
    assert said in str(raised.value)


def test_an_export_is_one_more_stage_and_moves_no_other(tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    before, after = changed(tmp_path / "without", ""), changed(tmp_path / "with", PLAIN)
    assert after.files.keys() - before.files.keys() == {"resolved/export/out.json"}
    moved = {name for name, text in before.files.items() if after.files[name] != text}
    assert moved == {"resolved/report.json"}  # it lists the exports


def test_8_bits_are_measured_as_the_task_is(tmp_path):
    entry = "exports:\n  out: {model: cross, task: questions, base: encoder, onnx: int8}\n"
    resolved = changed(tmp_path, entry).resolved
    found, task = resolved["exports"]["out"], resolved["tasks"]["questions"]["evaluation"]
    assert found["evaluation"] == {key: task[key] for key in ("kind", "labels", "bootstrap", "confidence", "seed")}


@pytest.mark.parametrize(("bits", "merged"), [(16, False), (8, True), (4, True)])
def test_a_quantised_base_is_merged_unless_the_entry_says_otherwise(tmp_path, bits, merged):
    entry = f"quantization: {{bits: {bits}}}\nexports:\n  out: {{model: chatty, task: questions, base: llm}}\n"
    found = changed(tmp_path, entry).resolved["exports"]["out"]
    assert (found["merge"], found["quantization"]) == (merged, {"bits": bits})


def test_no_stage_but_export_runs_the_code_of_exports(tmp_path):
    code = Code(ROOT)
    for name in ("stages.train", "stages.predict", "stages.calibrate", "stages.evaluate", "stages.report"):
        assert not [one for one in code.closure([name]) if one.startswith("retune.exports")]
    assert "retune.exports.parity" in code.closure(["stages.export"])
