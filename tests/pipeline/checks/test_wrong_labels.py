"""Who looks for wrong labels, and what of the reviewed ones reaches which stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.declarations import replace, write

P, D = "params.yaml", "data/catalog.yaml"


def test_tasks_with_labels_look_for_wrong_ones_unless_they_say_otherwise(tmp_path: Path) -> None:
    assert resolve(write(tmp_path)).resolved["tasks"]["questions"]["exploration"]["doubts"] == 10_000
    replace(tmp_path, P, "    source: sample\n", "    source: sample\n    exploration: {doubts: 0}\n")
    assert resolve(tmp_path).resolved["tasks"]["questions"]["exploration"]["doubts"] == 0


def test_a_ranking_has_no_labels_that_could_be_wrong(tmp_path: Path) -> None:
    search = "tasks:\n  search: {kind: ranking, source: sample, exploration: {doubts: 5}}\n"
    with pytest.raises(RetuneError, match="looks for wrong labels, and a task of kind ranking has none; take it out"):
        resolve(write(tmp_path, (P, "tasks:\n", search)))


def test_corrections_are_hashed_with_the_source_and_reach_convert_alone(tmp_path: Path) -> None:
    write(tmp_path, (P, "source: sample", "source: files"))
    folder = tmp_path / "data/external/rows"
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("a,b,label\n")
    before = resolve(tmp_path).resolved["tasks"]["questions"]
    assert "corrections" not in before["convert"]
    replace(tmp_path, D, "  path: data/external/rows\n", "  path: data/external/rows\n  corrections: reviewed.json\n")
    with pytest.raises(RetuneError, match=r"no file in .* fits `reviewed.json`"):
        resolve(tmp_path)
    (folder / "reviewed.json").write_text("[]")
    after = resolve(tmp_path).resolved["tasks"]["questions"]
    assert after["convert"] == {**before["convert"], "corrections": "reviewed.json"}
    assert set(after["source"]["files"]) == {"rows.csv", "reviewed.json"}
    assert "corrections" not in after["source"]
