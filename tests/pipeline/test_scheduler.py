"""Units run when those that they need are done, and what fails stops nothing that does not need it."""

from __future__ import annotations

import subprocess
import threading

import pytest

from retune.errors import RetuneError
from retune.pipeline import dvc_run, scheduler
from retune.pipeline.instances import Instance
from retune.pipeline.plan import Plan, Unit


def plan(needs: dict[str, str], **way: float) -> Plan:
    units = {
        name: Unit([Instance(name, "", "", (), (), ())], 1.0, set(needed.split()), way.get(name, 1.0))
        for name, needed in needs.items()
    }
    return Plan(units, len(units), 0, 0, 0.0)


@pytest.fixture
def started(monkeypatch) -> list[tuple[str, set[str]]]:
    """Each unit as it starts, with those that had ended by then; `bad` fails."""
    found: list[tuple[str, set[str]]] = []
    ended: set[str] = set()
    lock = threading.Lock()

    class Run(subprocess.Popen):
        def __exit__(self, *args):
            super().__exit__(*args)
            with lock:
                ended.add(self.name)

    def start(arguments, **more):
        name = arguments[-1]
        with lock:
            found.append((name, set(ended)))
        code = (
            "echo why; echo \"ERROR: failed to reproduce 'bad': failed to run: x\"; exit 1"
            if name == "bad"
            else "sleep 0.05"
        )
        process = Run(["sh", "-c", code], **more)
        process.name = name
        return process

    monkeypatch.setattr(dvc_run, "start", start)
    return found


@pytest.mark.parametrize("jobs", [1, 2, 4, 40])
def test_a_unit_starts_when_all_that_it_needs_has_ended(started, jobs):
    needs = {"a": "", "b": "", "c": "a", "d": "a b", "e": "c d", "f": "", "g": "f e"}
    scheduler.run(plan(needs), jobs)
    assert sorted(name for name, _ in started) == sorted(needs)
    assert all(ended >= set(needs[name].split()) for name, ended in started)


def test_the_longest_way_goes_first(started):
    scheduler.run(plan({"short": "", "long": "", "middle": ""}, short=1, long=9, middle=5), jobs=1)
    assert [name for name, _ in started] == ["long", "middle", "short"]


def test_what_does_not_need_a_failed_unit_is_built_and_the_error_says_what_and_why(started):
    needs = {"bad": "", "behind": "bad", "farther": "behind", "one": "", "two": "one"}
    with pytest.raises(RetuneError) as error:
        scheduler.run(plan(needs, bad=9), jobs=1)
    assert [name for name, _ in started] == ["bad", "one", "two"]
    assert str(error.value) == ("bad failed: why; 2 stages behind were not begun; the same command goes on from there")


def test_nothing_to_do_starts_nothing(started):
    scheduler.run(plan({}), jobs=2)
    assert not started


def test_an_interrupt_ends_what_runs_and_begins_nothing_more(started, monkeypatch):
    ended = []
    monkeypatch.setattr(dvc_run, "end", lambda running: [ended.append(one.name) or one.kill() for one in running])
    joined = threading.Thread.join

    def interrupted(thread, timeout=None):
        monkeypatch.setattr(threading.Thread, "join", joined)
        while not started:
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scheduler.run(plan({"a": "", "b": "a", "c": "b"}), jobs=1)
    assert [name for name, _ in started] == ended == ["a"]


def test_a_worker_that_breaks_ends_the_build_with_its_error(started, monkeypatch):
    monkeypatch.setattr(dvc_run, "lines", lambda process: [1 / 0])
    ended = []
    monkeypatch.setattr(dvc_run, "end", lambda running: ended.extend(one.name for one in running))
    with pytest.raises(ZeroDivisionError):
        scheduler.run(plan({"a": "", "b": "a"}), jobs=2)
    assert [name for name, _ in started] == ended == ["a"]
