"""The record of a sweep outlives a kill in the middle of a line, and no other study's trials are taken for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.sweep import record
from retune.sweep.record import Trial


def test_a_line_that_was_cut_is_not_read_and_spoils_no_other(tmp_path: Path):
    record.add(tmp_path, Trial(1, {"a": 1}, "done", 0.5))
    record.add(tmp_path, Trial(2, {"a": 2}))
    file = tmp_path / record.FILE
    file.write_bytes(file.read_bytes() + b'{"number": 2, "values": {"a": 2}, "state": "do')
    assert [one.state for one in record.read(tmp_path)] == ["done", "running"]
    record.add(tmp_path, Trial(2, {"a": 2}, "done", 0.7))
    assert [one.value for one in record.read(tmp_path)] == [0.5, 0.7]


def test_another_space_or_other_data_begin_a_new_study_and_lose_no_old_one(tmp_path: Path):
    home = tmp_path / "sweep"
    assert record.begin(home, "one") is None
    record.add(home, Trial(1, {}, "done", 0.5))
    assert record.begin(home, "one") is None
    assert len(record.read(home)) == 1
    old = record.begin(home, "two")
    assert old == tmp_path / "sweep.1"
    assert (len(record.read(old)), record.read(home)) == (1, [])


def test_two_runs_of_one_sweep_do_not_mix(tmp_path: Path):
    with (
        record.held(tmp_path / "one"),
        pytest.raises(RetuneError, match="running already"),
        record.held(tmp_path / "one"),
    ):
        pass
