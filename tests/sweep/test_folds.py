"""Folds divide the training rows by their groups, and a trial's value is the mean over them."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import polars as pl
import pytest

from retune.errors import RetuneError
from retune.sweep import dev_curve, folds, record, search, words
from retune.sweep.record import Trial
from retune.sweep.search import Options
from tests.support import sweep_project
from tests.support.sweep_project import ran

pytestmark = pytest.mark.slow

ROWS = pl.DataFrame(
    {
        "id": [f"r{n}" for n in range(40)],
        "group": [f"g{n // 2}" for n in range(40)],
        "label": [n % 2 for n in range(40)],
        "origin": ["original" if n % 4 else "copy" for n in range(40)],
    }
)


def read(home: Path, count: int) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    tops = [home / folds.FOLDER / str(number) for number in range(1, count + 1)]
    return [(pl.read_parquet(top / "train.parquet"), pl.read_parquet(top / "dev.parquet")) for top in tops]


def test_no_group_is_on_both_sides_and_every_original_row_is_measured_once(tmp_path: Path):
    ROWS.write_parquet(tmp_path / "rows.parquet")
    folds.write(tmp_path / "rows.parquet", tmp_path, "pair", 3, seed=7)
    found = read(tmp_path, 3)
    for train, dev in found:
        assert not set(train["group"]) & set(dev["group"])
        assert set(dev["origin"]) == {"original"}
        assert train.columns == ROWS.columns
        assert train["id"].to_list() == sorted(train["id"], key=ROWS["id"].to_list().index)
    measured = pl.concat([dev for _, dev in found])["id"].to_list()
    assert sorted(measured) == sorted(ROWS.filter(origin="original")["id"])
    assert sorted(dev["group"].n_unique() for _, dev in found) == [6, 7, 7]


def test_too_many_folds_are_refused_with_what_they_lack(tmp_path: Path):
    file = tmp_path / "rows.parquet"
    ROWS.write_parquet(file)
    with pytest.raises(RetuneError, match="the training rows have 20 groups"):
        folds.write(file, tmp_path / "a", "pair", 21, seed=7)
    ROWS.with_columns(label=(pl.col("group") == "g3").cast(pl.Int64)).write_parquet(file)
    with pytest.raises(RetuneError, match="rows of fold 1 are all with label 0: take fewer folds"):
        folds.write(file, tmp_path / "b", "pair", 3, seed=7)


TRAIN = """\
import polars
rows, dev = (polars.read_parquet(f"data/splits/questions/{name}.parquet") for name in ("train", "dev"))
assert not set(rows["group"]) & set(dev["group"])
c = reads["linear"]["c"]
tell(auc=[c + int(dev["id"].str.slice(1).cast(int).sum()) / 1000])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    copied = f"mkdir -p data/splits/$key && cp {tmp_path}/rows.parquet data/splits/$key/train.parquet"
    split = copied.replace("$key", "${key}") + " && printf unread > data/splits/${key}/dev.parquet"
    return sweep_project.write(tmp_path / "project", TRAIN, split)


def test_the_value_of_a_trial_is_the_mean_over_folds_with_its_standard_error(folder: Path, tmp_path: Path):
    found = search.sweep(folder, "plain", ["linear.c=1,2"], Options(by="grid", folds=4))
    assert ran(folder) == ["split", *["train"] * 8]
    sums = [dev["id"].str.slice(1).cast(int).sum() / 1000 for _, dev in read(folder / search.FOLDER / "plain", 4)]
    for one in found.trials:
        measured = [one.values["linear.c"] + number for number in sums]
        assert one.value == pytest.approx(statistics.fmean(measured))
        assert one.error == pytest.approx(statistics.stdev(measured) / 2)
        assert [metrics["auc"] for metrics in one.folds] == pytest.approx(measured)
    said = words.table(found)
    assert "auc, mean of 4 folds" in said
    assert f"{found.done[0].value:.4f} ± {found.done[0].error:.4f}" in said
    assert "no row of dev, calibration or test was read" in said
    page = words.page(found, tmp_path / "index.html").read_text(encoding="utf-8")
    assert "one standard error to both sides" in page


def test_an_interrupted_trial_goes_on_with_the_fold_that_was_not_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    real, calls = dev_curve.chosen, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(dev_curve, "chosen", stopped)
    with pytest.raises(KeyboardInterrupt):
        search.sweep(folder, "plain", ["linear.c=1,2"], Options(by="grid", folds=4))
    monkeypatch.setattr(dev_curve, "chosen", real)
    found = search.sweep(folder, "plain", ["linear.c=1,2"], Options(by="grid", folds=4))
    assert ran(folder).count("train") == 8 + 1, "the third fold of the first trial twice"
    assert [len(one.folds) for one in found.trials] == [4, 4]


def test_a_trial_whose_folds_were_all_done_when_it_was_killed_trains_none_again(folder: Path):
    options = Options(by="grid", folds=4)
    found = search.sweep(folder, "plain", ["linear.c=1,2"], options)
    unfinished = dataclasses.replace(found.trials[1], state="running", value=None, error=None)
    record.add(folder / search.FOLDER / "plain", unfinished)
    again = search.sweep(folder, "plain", ["linear.c=1,2"], options)
    assert again.trials == found.trials
    assert ran(folder).count("train") == 8


def test_a_trial_is_ended_between_folds_where_its_mean_is_worse(folder: Path):
    options = Options(by="grid", folds=4, prune="median")
    found = search.sweep(folder, "plain", ["linear.c=2,3,4,5,1"], options)
    assert [one.state for one in found.trials] == ["done"] * 4 + ["pruned"]
    last: Trial = found.trials[-1]
    assert len(last.folds) == 2
    assert last.said.startswith("dev auc 1.")
    assert last.said.endswith("at fold 2 (median)")
    assert ran(folder).count("train") == 4 * 4 + 2
