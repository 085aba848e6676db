"""What a kill or a full disk leaves behind of DVC's own files is put right, and said."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from retune.errors import RetuneError
from retune.pipeline import processes, recovery
from tests.support import tiny_pipeline

TEXT = """\
schema: '2.0'
stages:
  a:
    cmd: python work.py a
    deps:
    - path: data/a
      hash: md5
      md5: 0cc175b9c0f1b6a831c399e269772661
      size: 1
    params:
      params-resolved.json:
        reads.a: null
    outs:
    - path: out/a.txt
      hash: md5
      md5: 92eb5ffee6ae2fec3ad71c777531578f.dir
      size: 1
      nfiles: 3
  b@x:
    cmd:
    - python work.py b
    - 'true'
    outs:
    - path: out/b.txt
      hash: md5
      md5: 92eb5ffee6ae2fec3ad71c777531578f
      size: 1
  c:
    cmd: python work.py c
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that looks like a project of DVC."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc/tmp").mkdir(parents=True)
    Path(".dvc/tmp/lock").touch()
    return tmp_path


def accepted(text: str) -> bool:
    """Whether DVC takes it for a dvc.lock."""
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, yaml.CSafeLoader))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def test_a_lock_file_is_mended_wherever_it_is_cut(folder):
    lock = Path("dvc.lock")
    lock.write_text(TEXT)
    assert recovery.recover() == []
    recovery.keep()
    for place in [*range(0, len(TEXT), 7), *range(len(TEXT) - 60, len(TEXT))]:
        lock.write_text(TEXT[:place])
        said = recovery.recover()
        assert accepted(lock.read_text()), place
        assert bool(said) or accepted(TEXT[:place]), place
        if said:
            assert lock.read_text() == TEXT, place
    assert said[0].startswith("dvc.lock was cut by a kill or a full disk: put back with 3 stages")
    assert Path(".retune/dvc.lock.damaged").read_text() == TEXT[:-1]


def test_what_the_cut_file_still_holds_is_newer_than_the_copy(folder):
    Path("dvc.lock").write_text(TEXT)
    recovery.keep()
    newer = TEXT.replace("work.py a", "work.py a --again").replace("  c:", "  d:\n    cmd: python d\n  c:")
    Path("dvc.lock").write_text(newer[:-10])
    recovery.recover()
    assert Path("dvc.lock").read_text() == newer


def test_without_a_copy_the_whole_stages_stay_and_an_empty_file_goes(folder):
    Path("dvc.lock").write_text(TEXT[: TEXT.index("- 'true'")])
    recovery.recover()
    assert list(yaml.safe_load(Path("dvc.lock").read_text())["stages"]) == ["a"]
    Path("dvc.lock").write_text("")
    recovery.recover()
    assert not Path("dvc.lock").exists()


def test_a_cut_file_is_no_good_copy_and_the_marks_of_a_merge_are_the_users(folder):
    Path("dvc.lock").write_text(TEXT)
    recovery.keep()
    Path("dvc.lock").write_text(TEXT[:-1])
    recovery.keep()
    assert recovery.GOOD.read_text() == TEXT
    marked = TEXT.replace("  c:\n", "<<<<<<< HEAD\n  c:\n") + "=======\n>>>>>>> other\n"
    Path("dvc.lock").write_text(marked)
    with pytest.raises(RetuneError, match="marks of a merge"):
        recovery.recover()
    assert Path("dvc.lock").read_text() == marked


@pytest.fixture
def disk(folder):
    """A folder of one block of disk that is left, without rights for which the test is skipped."""
    small = folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield small
    subprocess.run(["umount", "-l", str(small)], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"0" * 512)


def test_on_a_full_disk_the_copy_itself_becomes_the_lock_file(disk, monkeypatch):
    monkeypatch.chdir(disk)
    Path(".dvc/tmp").mkdir(parents=True)
    Path("dvc.lock").write_text(TEXT)
    recovery.keep()
    Path("dvc.lock").write_text("")
    Path(".dvc/tmp/rwlock").write_text('{"write": {"/x')
    fill(disk)
    said = recovery.recover()
    assert [line.split(" by ")[0] for line in said] == ["dvc.lock was cut", ".dvc/tmp/rwlock was cut"]
    assert Path("dvc.lock").read_text() == TEXT
    assert not Path(".dvc/tmp/rwlock").exists()
    recovery.keep()  # no room for a copy: no error either


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_locks_of_the_dead_are_cleared_and_those_of_the_living_stay(folder):
    living = subprocess.Popen([sys.executable, "-c", "input()", "dvc", "repro"], stdin=subprocess.PIPE)
    zombie = subprocess.Popen([sys.executable, "-c", "pass"])
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    while processes.stat(zombie.pid):
        time.sleep(0.01)
    assert Path(f"/proc/{zombie.pid}").exists(), "not reaped yet, so DVC takes it for alive"
    entries = [{"pid": process.pid, "cmd": "/bin/dvc repro"} for process in (living, zombie, other)]
    Path(".dvc/tmp/rwlock").write_text(
        json.dumps({"write": dict(zip("abc", entries, strict=True)), "read": {"d": entries, "e": entries[1:]}})
    )
    said = recovery.recover()
    assert json.loads(Path(".dvc/tmp/rwlock").read_text()) == {"write": {"a": entries[0]}, "read": {"d": entries[:1]}}
    assert [line.split()[5] for line in said] == [str(zombie.pid), str(other.pid)], "the last: its number went on"
    for process in (living, other):
        process.communicate(b"\n")
    zombie.wait()
    recovery.recover()
    assert not Path(".dvc/tmp/rwlock").exists()


def test_a_second_build_is_refused_in_a_sentence(folder, monkeypatch):
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    with recovery.alone(), pytest.raises(RetuneError, match=r"process \d+ \(`retune repro`\) is building in this"):
        recovery.alone().__enter__()
    with recovery.alone():
        pass
    living = subprocess.Popen([sys.executable, "-c", "input()", "dvc", "repro"], stdin=subprocess.PIPE)
    Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"a": {"pid": living.pid, "cmd": "/bin/dvc repro"}}}))
    said = rf"process {living.pid} \(`/bin/dvc repro`\) is building in this folder: wait for it or end it"
    with pytest.raises(RetuneError, match=said):
        recovery.alone().__enter__()
    living.communicate(b"\n")
    with recovery.alone():
        pass


@pytest.mark.slow
def test_a_plain_dvc_that_is_killed_while_it_writes_its_lock_file_is_mended_and_goes_on(tmp_path):
    tiny_pipeline.lay_out(tmp_path)
    said = tiny_pipeline.run(tmp_path, "python", "-c", tiny_pipeline.CUT.replace("{stages}", "2"), fails=True)
    assert "retune: dvc.lock was cut by a kill or a full disk: put back with 1 stages" in said
    said = tiny_pipeline.run(tmp_path, "dvc", "repro")
    assert "Stage 'a' didn't change, skipping" in said
    assert "Stage 'b' is cached - skipping run" in said, "it was done: the run-cache has it"
    assert "Running stage 'c'" in said
    assert [(tmp_path / f"out/{name}.txt").read_text() for name in "abc"] == ["a" * 9, "b" * 9, "c" * 9]
    assert list(yaml.safe_load((tmp_path / "dvc.lock").read_text())["stages"]) == ["a", "b", "c"]
