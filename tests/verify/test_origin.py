"""`retune provenance`: the commit that recorded a model, its data, its parameters and its run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retune import run_record
from retune.errors import RetuneError
from retune.verify import origin, words
from tests.support import small_models
from tests.support.tiny_pipeline import run

pytestmark = pytest.mark.slow

GIT = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@x", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@x"}


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "-A", **GIT)
    run(folder, "git", "commit", "-q", "-m", message, **GIT)


def rows(folder: Path, text: str) -> None:
    (folder / "rows.json").write_text(text)
    run(folder, "dvc", "repro", "-q", "train@one", OMP_NUM_THREADS="3")


def test_a_model_comes_from_the_newest_commit_that_brought_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    small_models.build(folder)
    found = origin.of(folder, "one")
    assert found["commit"] is None
    assert "rows.json" in found["uncommitted"]
    assert "none has this build: commit dvc.lock" in words.origin(found)
    commit(folder, "first")
    rows(folder, "[5]")
    commit(folder, "others")
    rows(folder, "[1, 2, 3]")
    commit(folder, "back again")
    (folder / "README").write_text("x")
    commit(folder, "unrelated")
    found = origin.of(folder, "one")
    assert found["commit"]["subject"] == "back again"
    assert (found["state"], found["uncommitted"], found["seed"]) == ("same", [], 7)
    assert found["machine"] == {"threads": 3, "device": "cpu"}
    lock = (folder / "dvc.lock").read_text()
    assert found["hash"] in lock
    assert all(md5 in lock for md5 in found["data"].values())
    assert sorted(found["data"]) == ["data/splits/more", "data/splits/train.json"]
    assert found["run"] == {}

    metrics = folder / "reports/training/one/metrics.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text("{}")
    run_record.write("train", "one", metrics, {"seconds": 3.5}, folder)
    (folder / "models/one/weights.json").write_text("{}")
    (folder / "models/one/provenance.json").write_text("")
    found = origin.of(folder, "one")
    assert (found["state"], found["run"]["seconds"]) == ("changed", 3.5)
    said = words.origin(found)
    assert "is NOT what dvc.lock says" in said
    assert "unknown: an older version of Retune built it" in said
    assert json.loads(json.dumps(found)) == found
    with pytest.raises(RetuneError, match=r"no built model `on`; did you mean `one`\?"):
        origin.of(folder, "on")
