"""Where the trials train: one copy of the project for all, in which the stages before the training ran once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import RESOLVED
from retune.pipeline import impact, instances, reads, teachers
from retune.pipeline.declarations import PARAMS
from retune.pipeline.instances import Instance
from retune.pipeline.resolve import Resolution, resolve
from retune.sweep import space
from retune.verify import copy
from retune.verify.lock import Built

FILLED, LOG = ".filled", ".stage.log"
COMPILING = ("resolve", "watch")
GRACE = 5.0
"""Seconds in which a stage that is stopped may end itself."""


def chain(folder: Path, resolution: Resolution, model: str) -> list[Instance]:
    """`train` of the model and the stages before it, in their order."""
    every = [
        one
        for one in instances.read(folder, {**resolution.resolved, **resolution.outside})
        if one.stage not in COMPILING
    ]
    wanted = [one for one in every if one.address == f"train@{model}"]
    found: list[Instance] = []
    while wanted:
        found += wanted
        wanted = [
            one
            for one in every
            if one not in found
            and any(instances.overlap(dep, out) for w in wanted for dep in w.deps for out in one.outs)
        ]
    return [one for one in every if one in found]


def fingerprint(resolution: Resolution, stages: Sequence[Instance]) -> str:
    """A hash of what these stages depend on: parameters, hashes of files and code, as a build would see them."""
    return reads.content_hash([resolution.files[reads.path(one.stage, one.key)] for one in stages])


def prepare(
    folder: Path, work: Path, resolution: Resolution, stages: Sequence[Instance], say: Callable[[str], None]
) -> None:
    """Fill the copy, and run there the stages before the training that are not built in the project; each only once.

    Raises `RetuneError` where one of them fails.
    """
    *before, train = stages
    empty = not (work / FILLED).is_file()
    if empty:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    _declare(work, resolution)  # before the project's own files, which may be of another state, or not there yet
    if empty:
        teachers.write(resolution.resolved, work)  # once: lessons stay, whatever weight a trial gives them
        stale = {one.instance.address for one in impact.impact(folder)}
        to_make: list[Instance] = []
        for one in reversed(before):  # what is built and here needs nothing before it
            wanted = any(instances.overlap(dep, out) for w in (*to_make, train) for dep in w.deps for out in one.outs)
            if wanted and (one.address in stale or not all((folder / out).exists() for out in one.outs)):
                to_make.insert(0, one)
        copy.fill(folder, work, [_built(one) for one in (*to_make, train)])
        (work / FILLED).write_text("\n".join(one.address for one in to_make), encoding="utf-8")
    to_make = [one for one in before if one.address in (work / FILLED).read_text(encoding="utf-8").split("\n")]
    for one in to_make:
        if not all((work / out).exists() for out in one.outs):
            seconds = run(work, one)
            say(f"{one.address}: {seconds:.1f} s, once for all trials")


def train(
    folder: Path, work: Path, stage: Instance, model: str, values: dict[str, Any]
) -> tuple[float, dict[str, dict[int, float]]]:
    """Train the model with these values; the seconds, and the dev metrics: name -> step -> value."""
    with tempfile.TemporaryDirectory() as name:
        params = Path(name) / PARAMS
        params.write_bytes((folder / PARAMS).read_bytes())
        space.apply(params, model, values)
        _declare(work, resolve(folder, params))
    for out in stage.outs:  # of the trial before
        target = work / out
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    seconds = run(work, stage)
    curves = work / "reports/training" / model / "plots/metrics/dev"
    return seconds, {file.stem: _curve(file) for file in sorted(curves.glob("*.tsv"))}


def _curve(file: Path) -> dict[int, float]:
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    return {int(step): float(value) for step, value in (line.split("\t") for line in lines)}


def _declare(work: Path, resolution: Resolution) -> None:
    (work / RESOLVED).write_text(reads.dumps(resolution.resolved), encoding="utf-8")
    reads.write(resolution.files, work)


def _built(one: Instance) -> Built:
    return Built(one.address, one.cmd, dict.fromkeys(one.deps, ""), dict.fromkeys(one.outs, ""), ())


def run(work: Path, one: Instance) -> float:
    """Run a stage in the copy; the seconds that it took. Raises `RetuneError` with its last words where it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    environment |= {"PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}
    if os.getpid() != 1:  # whose children look like orphans
        environment["DVC_STAGE"] = one.address  # a stage ends with the process that this says has started it
    start, log = time.monotonic(), work / LOG
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            one.cmd,
            shell=True,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
        _ended(process),
    ):
        process.wait()
    if process.returncode:
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise RetuneError(f"{one.address} failed: " + " | ".join(said[-3:]))
    return time.monotonic() - start


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """See to it that nothing of a stage's process group is left when the block ends."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
