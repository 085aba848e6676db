"""The stages convert, augment and split, run as DVC runs them; and the real AFQMC where it lies in data/external."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from retune.data import kinds
from retune.data.kinds import pair
from retune.params import Params
from tests.support import ROOT, warm_python

pytestmark = pytest.mark.slow

AFQMC = ROOT / "data/external/afqmc"
AUGMENTATION = {
    "swap": {"1": 0.5},
    "synonym": {},
    "insert": {},
    "homophone": {},
    "delete": {"0": 0.2},
    "exchange": {},
    "transitive": 0.5,
    "strength": 0.1,
    "seed": 0,
}
SPLIT = {"dev": 0.1, "calibration": 0.15, "test": 0.25, "seed": 0, "balance": "none"}
ALLOWED = {"polars", "_polars_runtime_32", "typing_extensions"}
COLUMNS = {"text_a": "sentence1", "text_b": "sentence2", "label": "label"}


def prepare(folder: Path, tables: list[dict]) -> None:
    """The resolved file of a project with one task."""
    task = {
        "convert": {"kind": "pair", "source": "made", "tables": tables, "max_rejects": 0.01},
        "augmentation": {"kind": "pair", **AUGMENTATION},
        "split": {"kind": "pair", **SPLIT},
    }
    code = {stage: {"made": "code"} for stage in ("convert", "augment", "split")}
    (folder / "params-resolved.json").write_text(json.dumps({"seed": 1, "tasks": {"made": task}, "code": code}))
    (folder / "data/raw").mkdir(parents=True)


def stage(folder: Path, name: str, *, fails: bool = False) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [f"{warm_python.folder()}/python", "-m", f"stages.{name}", "made"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def generated(folder: Path, count: int) -> None:
    lines = (f"问题 {n}？,说法 {n} 的另一种,{n % 3 % 2}\n" for n in range(count))
    (folder / "data/raw/made").mkdir(exist_ok=True)
    (folder / "data/raw/made/pairs.csv").write_text("sentence1,sentence2,label\n" + "".join(lines), encoding="utf-8")


def splits(folder: Path) -> dict[str, pl.DataFrame]:
    return {
        name: pl.read_parquet(folder / f"data/splits/made/{name}.parquet")
        for name in ("train", "dev", "calibration", "test")
    }


def test_files_become_splits_and_appended_rows_move_no_old_row(tmp_path):
    prepare(tmp_path, [{"file": "pairs.csv", "columns": COLUMNS}])
    found = []
    for count in (400, 430):
        generated(tmp_path, count)
        log = [stage(tmp_path, name) for name in ("convert", "augment", "split")]
        found.append(splits(tmp_path))
    assert "430 rows from 430 records: 0 rejected" in log[0]
    assert "original 430" in log[1]
    assert "split" not in found[0]["train"].columns
    assert found[0]["train"].columns[-1] == "origin"
    for name, before in found[0].items():
        after = found[1][name]
        assert before.join(after, on=before.columns, how="anti", nulls_equal=True).is_empty(), name
        assert name == "train" or set(after["origin"]) == {"original"}
    assert sum((frame["origin"] == "original").sum() for frame in found[1].values()) == 430
    counts = json.loads((tmp_path / "data/splits/made/summary.json").read_text(encoding="utf-8"))
    assert counts["splits"]["train"]["rows"] == found[1]["train"].height
    assert not list((tmp_path / ".retune/scratch").rglob("*.parquet")), "scratch files go away"


def test_a_stage_that_fails_says_why_in_one_line_and_leaves_no_output(tmp_path):
    prepare(tmp_path, [{"file": "pairs.csv", "columns": {**COLUMNS, "label": {"from": "label", "map": {"yes": 1}}}}])
    generated(tmp_path, 20)
    message = stage(tmp_path, "convert", fails=True)
    assert message.startswith("convert made: all 20 rows are rejected")
    assert "Traceback" not in message
    assert not (tmp_path / "data/converted/made").exists()
    assert (tmp_path / ".retune/rejects/made.jsonl").read_text(encoding="utf-8").count("\n") == 20


def test_the_stages_start_with_polars_and_nothing_heavier():
    # What a start costs: polars takes 0.3 s of the 0.35. Seconds themselves are too noisy to test beside other work.
    code = (
        "import sys; before = set(sys.modules)\n"
        "import retune.data.kinds.pair, stages.convert, stages.augment, stages.split\n"
        "files = {name: str(getattr(sys.modules[name], '__file__', '')) for name in set(sys.modules) - before}\n"
        "print(*sorted({name.split('.')[0] for name, file in files.items() if 'site-packages' in file}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= ALLOWED


def test_the_kind_and_its_schema_agree():
    columns = kinds.of("pair").schema(Params()).columns()
    assert set(pair.TEXTS) < set(columns)
    assert list(columns) == ["id", "group", "split", "text_a", "text_b", "label", "reasoning"]


@pytest.mark.skipif(not (AFQMC / "afqmc_train.csv").is_file(), reason="AFQMC is not in data/external/afqmc")
def test_the_official_files_of_afqmc_are_read_as_they_are(tmp_path):
    dev = {"file": "afqmc_dev.json", "format": "jsonl", "split": "test", "columns": COLUMNS}
    prepare(tmp_path, [{"file": "afqmc_train.csv", "columns": COLUMNS}, dev])
    (tmp_path / "data/raw/made").symlink_to(AFQMC)
    for name in ("convert", "augment", "split"):
        stage(tmp_path, name)
    counts = json.loads((tmp_path / "data/converted/made/summary.json").read_text(encoding="utf-8"))
    assert (counts["rows"], counts["rejected"], counts["duplicates"], counts["conflicts"]) == (38_650, 0, 0, 0)
    assert counts["labels"] == {"0": 26_739, "1": 11_911}
    found = splits(tmp_path)
    assert (found["test"].height, found["test"]["label"].sum()) == (4_316, 1_338)
    assert sum((frame["origin"] == "original").sum() for frame in found.values()) == 38_650
