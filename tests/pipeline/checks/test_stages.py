"""`retune check` on dvc.yaml: outputs that nobody reads, stages that DVC can't remember, names with dots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retune.pipeline.checks.stages import warnings
from tests.support import ROOT


def found(folder: Path, old: str = "", new: str = "") -> list[str]:
    """The warnings about this project's dvc.yaml with one text replaced."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert old in text
    (folder / "dvc.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    for name in ("retune", "stages"):
        (folder / name).symlink_to(ROOT / name)
    return warnings(folder, json.loads((ROOT / "params-resolved.json").read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_projects_own_pipeline_has_nothing_to_warn_of(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "        - data/splits/${key}\n\n",
            "        - data/splits/${key}\n        - data/odd/${key}\n\n",
            "no stage reads data/odd/*, an output of split",
        ),
        (
            "        - data/predictions/${item.task}/${key}\n\n",
            "        - data/predictions/${item.task}/${key}: {cache: false}\n\n",
            "predict is expensive, and its output data/predictions/${item.task}/${key} has `cache: false`",
        ),
        (
            "        - data/raw/${key}\n\n",
            "        - data/raw/${key}: {cache: false}\n\n",
            "download is expensive, and its output data/raw/${key} has `cache: false`",
        ),
        ("  report:\n", "  re.port:\n", "the name re.port has a dot"),
        ("  report:\n", "  train:\n", "twice"),
    ],
)
def test_what_costs_more_than_it_seems_is_warned_of(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert [line for line in found(tmp_path, old, new) if line.startswith("dvc.yaml:") and said in line]
