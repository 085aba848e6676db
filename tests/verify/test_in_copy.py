"""A stage that runs in a copy: its words, its end by a signal, its end from outside."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from retune.verify import copy, in_copy


def test_the_lines_and_the_status_are_told(tmp_path: Path) -> None:
    ran = in_copy.run(tmp_path, "train@one", "echo first; echo; echo second >&2; exit 3")
    assert (ran.status, ran.lines, ran.stopped) == (3, ["first", "second"], False)
    assert ran.last_words(1) == ["second"]


def test_variables_of_dvc_are_not_handed_on_and_the_stage_knows_its_name(tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "DVC_ROOT": "elsewhere", "OMP_NUM_THREADS": "3"}
    ran = in_copy.run(tmp_path, "train@one", "echo $DVC_ROOT-$OMP_NUM_THREADS-$DVC_STAGE", environment=given)
    assert ran.lines == ["-3-train@one"]


@pytest.mark.parametrize("command", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
def test_a_stage_that_the_system_kills_says_so(tmp_path: Path, command: str) -> None:
    ran = in_copy.run(tmp_path, "train@one", command)
    assert ran.last_words(3)[-1] == "killed by SIGKILL, as Linux does where memory runs out"


def test_a_stage_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    command = "sleep 60 & echo $! > child; trap 'kill %1; exit 4' TERM; wait"
    ran = in_copy.run(tmp_path, "train@one", command, watch=lambda seconds: (tmp_path / "child").is_file())
    assert ran.stopped
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child lives on")


def test_an_error_of_the_watcher_ends_the_stage(tmp_path: Path) -> None:
    def watch(seconds: float) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_copy.run(tmp_path, "train@one", "sleep 2; touch done", watch=watch)
    assert not (tmp_path / "done").exists()


def test_a_clone_of_a_copy_is_whole_and_what_is_replaced_in_it_stays_in_the_other(tmp_path: Path) -> None:
    made, into = tmp_path / "made", tmp_path / "into"
    for name in ("data/train", "data/dev", ".retune/log"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    (tmp_path / "into.part").mkdir()  # of a clone that was killed
    copy.clone(made, into)
    assert sorted(p.relative_to(into).as_posix() for p in into.rglob("*")) == ["data", "data/dev", "data/train"]
    (tmp_path / "fold").write_text("fold")
    copy.replace(tmp_path / "fold", into / "data/dev")
    assert [(top / "data/dev").read_text() for top in (made, into)] == ["data/dev", "fold"]
