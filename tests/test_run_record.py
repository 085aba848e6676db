"""What a run took is found by the bytes of its result, and never lost to an experiment's folder."""

from __future__ import annotations

import json
from pathlib import Path

from retune import run_record


def made(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(content)
    return folder / "metrics.json"


def test_a_record_belongs_to_the_bytes_that_its_run_wrote(tmp_path):
    for content, seconds in (("a", 1.0), ("b", 2.0)):
        run_record.write("train", "m", made(tmp_path, content), {"seconds": seconds}, tmp_path)
    assert run_record.read("train", "m", b"a", tmp_path) == {"seconds": 1.0}
    assert run_record.read("train", "m", b"b", tmp_path) == {"seconds": 2.0}
    assert run_record.read("train", "m", b"c", tmp_path) == {}
    assert run_record.read("predict", "m", b"a", tmp_path) == {}
    script = (tmp_path / ".retune/runs/runs.js").read_text()
    told = json.loads(json.loads(script.removeprefix("window.retuneRuns = JSON.parse(").removesuffix(");\n")))
    assert told == {
        run_record.key("train", "m", b"a"): {"seconds": 1.0},
        run_record.key("train", "m", b"b"): {"seconds": 2.0},
    }


def test_an_experiment_in_a_folder_of_its_own_leaves_its_record_in_the_project(tmp_path):
    inside = tmp_path / ".dvc/tmp/exps/tmp1234"
    run_record.write("train", "m", made(inside, "a"), {"seconds": 3.0}, inside)
    assert run_record.read("train", "m", b"a", tmp_path) == {"seconds": 3.0}
    assert not (inside / ".retune").exists()
