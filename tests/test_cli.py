"""What a user is promised about the command line `retune`."""

import json

import pytest

from retune.pipeline.keys import FILES, all_keys
from tests.support.command_line import printed
from tests.support.declarations import replace, write

pytestmark = pytest.mark.slow


def test_keys_lists_every_key_with_its_limits_default_and_meaning(tmp_path):
    text = printed(write(tmp_path), "keys")
    for file in FILES:
        assert f"\n{file}\n" in f"\n{text}"
    line = next(line for line in text.splitlines() if line.split()[:1] == ["training.max_length"])
    assert "whole number >= 8" in line
    assert "128" in line
    assert "tokens" in line
    assert "linear, cosine, constant" in text
    assert "training" not in printed(tmp_path, "keys", "lora.")


def test_every_key_says_what_it_means():
    assert [key.path for key in all_keys() if not key.meaning] == []


def test_check_validates_without_writing(tmp_path):
    folder = write(tmp_path)
    assert "valid: 1 tasks, 4 models, 3 bases; params-resolved.json is out of date" in printed(folder, "check")
    assert not (folder / "params-resolved.json").exists()
    replace(folder, "params.yaml", "source: sample", "source: hub")
    assert "warning: data/catalog.yaml" in printed(folder, "check")
    replace(folder, "params.yaml", "batch_size", "batch_sise")
    assert "did you mean `batch_size`" in printed(folder, "check", fails=True)


def test_check_writes_the_labels_of_the_data_sorted_in_the_place_of_auto(tmp_path):
    folder = write(tmp_path)
    replace(
        folder,
        "params.yaml",
        "kind: pair\n    source: sample",
        "kind: classification\n    source: files\n    labels: auto  # mine",
    )
    replace(folder, "params.yaml", "    prompt: questions\n", "")
    replace(
        folder,
        "params.yaml",
        "  chatty:\n    task: questions\n    learner: llm\n    base: llm\n    training: {epochs: 2}\n",
        "",
    )
    replace(
        folder,
        "params.yaml",
        "  untuned: {task: questions, learner: embedder, base: encoder, training: {epochs: 0}}\n",
        "",
    )
    file = folder / "data/external/rows/rows.csv"
    file.parent.mkdir(parents=True)
    file.write_text("a,label,lang\nx,10,en\ny,9,en\nz,b,en\nw,secret,de\nv,,en\nu,b,en\n")
    catalog = folder / "data/catalog.yaml"
    text = catalog.read_text()
    start = text.index("files:")
    mapping = text[start:].replace("columns: {text_a: a, text_b: b,", "where: lang = 'en'\n      columns: {text: a,", 1)
    catalog.write_text(text[:start] + mapping)
    assert "`auto` stands for the labels that the data has" in printed(folder, "check", fails=True)
    assert "tasks.questions.labels, 3 labels: 9, 10, b" in printed(folder, "check", "--write")
    written = (folder / "params.yaml").read_text()
    assert "labels: ['9', '10', b]  # mine" in written
    printed(folder, "check", "--write")
    assert (folder / "params.yaml").read_text() == written
    replace(folder, "params.yaml", "['9', '10', b]", "auto")
    file.write_text("a,label,lang\nx,10,en\n")
    assert "has 1 labels, but 2 to 200 are possible" in printed(folder, "check", "--write", fails=True)


def test_check_knows_the_metrics_of_a_gate(tmp_path):
    folder = write(tmp_path)
    replace(folder, "params.yaml", "lora: {", "gate: {questions: {metric: auk}}\nlora: {")
    assert "gate.questions.metric: there is no metric `auk`; did you mean `auc`?" in printed(
        folder, "check", fails=True
    )
    replace(folder, "params.yaml", "metric: auk", "metric: auc")
    assert "valid: 1 tasks" in printed(folder, "check")


def test_show_prints_what_a_model_really_gets(tmp_path):
    folder = write(tmp_path)
    model = json.loads(printed(folder, "show", "chatty"))["models"]["chatty"]
    assert (model["training"]["epochs"], model["training"]["batch_size"], model["lora"]["r"]) == (2, 8, 16)
    assert "did you mean `chatty`" in printed(folder, "show", "chaty", fails=True)


def test_pin_refuses_what_is_not_on_a_hub(tmp_path):
    folder = write(tmp_path)
    assert "`sample`" in printed(folder, "pin", "sample", fails=True)
    assert "`nothing`" in printed(folder, "pin", "nothing", fails=True)


@pytest.mark.parametrize("name", ["scratch", "questions"])
def test_show_knows_bases_and_tasks(name, tmp_path):
    assert f'"{name}"' in printed(write(tmp_path), "show", name)


def test_export_says_what_took_its_place(tmp_path):
    said = printed(tmp_path, "export", "alignment", "--format", "sharegpt", "--out", "there", fails=True)
    assert "`retune rows TASK --out FOLDER`" in said
    assert "`dvc repro export@NAME`" in said
