"""Pairs that share texts: the split's log, its summary and the exploration say so, and each of two keys cures it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import polars as pl
import pytest

from stages.explore import explore
from stages.split import split
from tests.support.pair_rows import SPEC, original
from tests.support.stage_run import run


def rows() -> pl.LazyFrame:
    """500 pairs, each its own group; of the first 300 five share a text."""
    return original(*((f"i{n}", f"r{n}", None, f"q{n // 5 if n < 300 else n}", f"r{n}", n % 2) for n in range(500)))


def build(folder: Path, **said) -> tuple[dict, dict]:
    """The summary and the exploration of the rows, divided with these keys."""
    section = {**SPEC, "kind": "pair", "labels": ["0", "1"], "data_ratio": 1.0, "groups": "rows", "drop_shared": False}
    task = {"split": {**section, **said}, "exploration": {"kind": "pair", "labels": ["0", "1"], "readers": []}}
    (folder / "params-resolved.json").write_text(
        json.dumps({"seed": 1, "tasks": {"same": task}, "models": {}, "code": {}})
    )
    (folder / "data/augmented/same").mkdir(parents=True)
    rows().sink_parquet(folder / "data/augmented/same/rows.parquet")
    with contextlib.chdir(folder):
        run(split, "same")
        run(explore, "same")
    summary = json.loads((folder / "data/splits/same/summary.json").read_text())
    return summary, json.loads((folder / "reports/explore/same/exploration.json").read_text())


def texts(folder: Path, name: str) -> set[str]:
    frame = pl.read_parquet(folder / f"data/splits/same/{name}.parquet")
    return {*frame["text_a"], *frame["text_b"]}


def test_the_log_and_the_exploration_name_the_leak_and_its_keys(tmp_path, capsys):
    summary, found = build(tmp_path)
    train = texts(tmp_path, "train")
    test = pl.read_parquet(tmp_path / "data/splits/same/test.parquet")
    leaking = sum(bool({a, b} & train) for a, b in test.select("text_a", "text_b").iter_rows())
    assert leaking > 50
    said = f"{leaking} of {len(test)} test rows, "
    assert summary["sharing"]["test"] == leaking
    assert found["warnings"][0].startswith(said)
    assert "split.groups: connected" in found["warnings"][0]
    assert "split.drop_shared: true" in found["warnings"][0]
    assert capsys.readouterr().err.count(f"warning: {found['warnings'][0]}") == 2  # of both stages


@pytest.mark.parametrize("said", [{"groups": "connected"}, {"drop_shared": True}])
def test_either_key_leaves_no_training_text_in_another_split(said, tmp_path):
    summary, found = build(tmp_path, **said)
    for name in ("dev", "calibration", "test"):
        assert texts(tmp_path, "train").isdisjoint(texts(tmp_path, name))
    assert summary["sharing"] == {}
    assert not [warning for warning in found["warnings"] if "training row" in warning]
    kept = sum(entry["rows"] for entry in summary["splits"].values())
    assert kept + summary["shared_dropped"] == 500
    assert (summary["shared_dropped"] > 0) == ("drop_shared" in said)
