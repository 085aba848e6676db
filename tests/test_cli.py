"""What a user is promised about the command line `retune`."""

import json
import subprocess
import sys

import pytest

from retune.pipeline.keys import FILES, all_keys
from tests.support.declarations import replace, write


def run(folder, *arguments: str, fails: bool = False) -> str:
    command = [sys.executable, "-m", "retune.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_keys_lists_every_key_with_its_limits_default_and_meaning(tmp_path):
    text = run(write(tmp_path), "keys")
    for file in FILES:
        assert f"\n{file}\n" in f"\n{text}"
    line = next(line for line in text.splitlines() if line.split()[:1] == ["training.max_length"])
    assert "whole number >= 8" in line
    assert "128" in line
    assert "tokens" in line
    assert "linear, cosine, constant" in text
    assert "training" not in run(tmp_path, "keys", "lora.")


def test_every_key_says_what_it_means():
    assert [key.path for key in all_keys() if not key.meaning] == []


def test_check_validates_without_writing(tmp_path):
    folder = write(tmp_path)
    assert "valid: 1 tasks, 4 models, 3 bases; params-resolved.json is out of date" in run(folder, "check")
    assert not (folder / "params-resolved.json").exists()
    replace(folder, "params.yaml", "source: sample", "source: hub")
    assert "warning: data/catalog.yaml" in run(folder, "check")
    replace(folder, "params.yaml", "batch_size", "batch_sise")
    assert "did you mean `batch_size`" in run(folder, "check", fails=True)


def test_show_prints_what_a_model_really_gets(tmp_path):
    folder = write(tmp_path)
    model = json.loads(run(folder, "show", "chatty"))["models"]["chatty"]
    assert (model["training"]["epochs"], model["training"]["batch_size"], model["lora"]["r"]) == (2, 8, 16)
    assert "did you mean `chatty`" in run(folder, "show", "chaty", fails=True)


def test_pin_refuses_what_is_not_on_a_hub(tmp_path):
    folder = write(tmp_path)
    assert "`sample`" in run(folder, "pin", "sample", fails=True)
    assert "`nothing`" in run(folder, "pin", "nothing", fails=True)


@pytest.mark.parametrize("name", ["scratch", "questions"])
def test_show_knows_bases_and_tasks(name, tmp_path):
    assert f'"{name}"' in run(write(tmp_path), "show", name)
