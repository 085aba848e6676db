"""What the stage runtime promises: lock, atomic outputs, one-line errors, logs, scratch, death with the parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from retune.params import Params
from retune.pipeline import processes
from retune.pipeline.stage import Stage
from tests.support import ROOT

SCRIPT = """
import sys, time
from pathlib import Path
from retune.errors import RetuneError
from retune.pipeline.stage import stage

@stage
def work(run, name):
    with run.output(f"out/{name}") as folder:
        (folder / "half").write_text("x")
        if name == "bad":
            raise RetuneError("row 3 of a.csv is empty: fill it")
        print("started", flush=True)
        if name == "slow":
            time.sleep(60)
    run.log.info("finished %s", name)

work()
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "params-resolved.json").write_text('{"seed": 1, "code": {}}')
    (tmp_path / "work.py").write_text(SCRIPT)
    return tmp_path


def run(project, *arguments, **more):
    root = str(ROOT)
    return subprocess.Popen(
        [sys.executable, "work.py", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": root, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_stage_writes_its_output_and_its_log(project):
    process = run(project, "good")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert (project / "out/good/half").read_text() == "x"
    assert "finished good" in err
    assert "finished good" in (project / ".retune/logs/work-good.log").read_text()


def test_an_error_is_one_line_and_leaves_no_half_output(project):
    process = run(project, "bad")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.strip() == "work bad: row 3 of a.csv is empty: fill it"
    assert list((project / "out").iterdir()) == []


def test_a_failing_stage_keeps_the_old_output(project):
    (project / "out/bad").mkdir(parents=True)
    (project / "out/bad/whole").write_text("old")
    run(project, "bad").communicate(timeout=30)
    assert (project / "out/bad/whole").read_text() == "old"


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770)])
def test_an_output_has_the_modes_of_new_files_whatever_its_writers_gave_it(umask, file, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").touch()
    (tmp_path / "kept").chmod(0o600)
    before = os.umask(umask)
    try:
        with Stage("train", "m").output("models/m") as out:
            (out / "2_Dense").mkdir(mode=0o700)
            save_file({"w": np.zeros(2)}, out / "2_Dense/model.safetensors")
            (out / "spec.json").touch(mode=0o600)
            (out / "link").symlink_to(tmp_path / "kept")
        with Stage("train", "m").output("reports/m.json") as out:
            out.touch(mode=0o600)
    finally:
        os.umask(before)
    found = {name: (tmp_path / name).stat().st_mode & 0o7777 for name in (
        "models", "models/m", "models/m/2_Dense", "models/m/2_Dense/model.safetensors", "models/m/spec.json",
        "reports/m.json", "kept",
    )}  # fmt: skip
    assert list(found.values()) == [folder] * 3 + [file] * 3 + [0o600]


def test_wrong_arguments_print_the_usage(project):
    process = run(project)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "usage: python -m stages.work NAME" in err


def test_a_second_run_of_the_same_stage_is_refused_and_the_lock_dies_with_its_holder(project):
    first = run(project, "slow")
    assert first.stdout.readline() == "started\n"
    second = run(project, "slow")
    _, err = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"already running in this folder as process {first.pid}" in err
    first.kill()
    first.wait()
    third = run(project, "slow")
    assert third.stdout.readline() == "started\n"
    third.kill()
    third.wait()


def test_an_interrupted_stage_cleans_up(project):
    process = run(project, "slow")
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stopped; run `dvc repro` to go on" in err
    assert list((project / "out").iterdir()) == []


def under_dvc(project: Path, name: str, inner: str) -> tuple[subprocess.Popen[str], int]:
    """A process in DVC's place that runs a stage by the Python code `inner`, and the stage's id once it has started."""
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; {inner}"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": f"work@{name}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    assert parent.stdout.readline() == "started\n"
    return parent, int((project / f".retune/locks/work-{name}").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize("shell", [False, True])
def test_a_stage_dies_with_dvc_even_behind_a_shell(project, shell):
    """The parent is killed outright, as DVC may be: the stage must not outlive it."""
    command = f"{sys.executable} work.py slow"
    inner = f"subprocess.run({command!r} + '; true', shell=True)" if shell else f"subprocess.run({command.split()!r})"
    parent, child = under_dvc(project, "slow", inner)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the stage outlived its parent"
        time.sleep(0.1)


def test_scratch_is_found_again_by_the_same_inputs_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").write_text("1")

    def scratch(epochs, code="abc"):
        stage = Stage("train", "m")
        stage.params = Params(code=Params(train=Params(m=code)))
        return stage.scratch(Params(epochs=epochs), Path("rows"))

    first = scratch(1)
    (first / "checkpoint").write_text("x")
    assert (scratch(1) / "checkpoint").exists()
    assert not (scratch(1, code="abd") / "checkpoint").exists()
    assert not (scratch(2) / "checkpoint").exists()
    (tmp_path / "rows").write_text("2")
    assert not (scratch(1) / "checkpoint").exists()


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_a_stage_whose_dvc_has_died_before_it_looked_does_not_begin(project):
    command = f"(sleep 0.3; exec {sys.executable} work.py slow) & exit"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "work@slow"}
    shell = subprocess.Popen(
        ["sh", "-c", command],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = shell.communicate(timeout=30)
    assert said == "work slow: stopped; run `dvc repro` to go on\n"


NATIVE = """
import sys
from retune.pipeline.stage import stage

@stage
def work(run, name):
    print("started", flush=True)
    {call}
work()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stage_within_a_native_call_that_does_not_return(project, monkeypatch, number):
    call = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 1 << 31 - 1)"
    (project / "work.py").write_text(NATIVE.replace("{call}", call))
    process = run(project, "long")
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "run `dvc repro` to go on" in err
    assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_a_native_call_that_keeps_the_interpreter_dies_with_dvc(project):
    """`sum` over a range holds the interpreter's lock for hours: no thread of the stage itself can end it."""
    (project / "work.py").write_text(NATIVE.replace("{call}", "sum(range(1 << 60))"))
    inner = f"subprocess.run([{sys.executable!r}, 'work.py', 'long'])"
    parent, child = under_dvc(project, "long", inner)
    deadline = time.monotonic() + 30
    while not list((project / ".retune/locks").glob("dvc-*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    parent.kill()
    parent.wait()
    while time.monotonic() < deadline and processes.stat(child):
        time.sleep(0.1)
    if processes.stat(child):
        os.kill(child, signal.SIGKILL)
        pytest.fail("the stage outlived its parent")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "full",
            "work full: the disk is full ([Errno 28] No space left on device): make room and run the same command",
        ),
        ("closed", "work closed: nothing can be written or read there: [Errno 30] Read-only file system: '/x/y'; mend"),
    ],
)
def test_a_full_disk_and_a_folder_that_cannot_be_written_are_one_sentence(project, name, said):
    call = {
        "full": "with open('/dev/full', 'w') as stream: stream.write('x')",
        "closed": "import errno; raise OSError(errno.EROFS, 'Read-only file system', '/x/y')",
    }
    (project / "work.py").write_text(NATIVE.replace("{call}", call[name]))
    process = run(project, name)
    _, err = process.communicate(timeout=30)
    assert err.startswith(said)
    assert len(err.splitlines()) == 1
