"""Where the trials train: copies of the one copy of the project in which the stages before the training ran once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.errors import RetuneError
from retune.params import RESOLVED
from retune.pipeline import impact, instances, reads, set_params
from retune.pipeline.instances import Instance
from retune.pipeline.resolve import Resolution, resolve
from retune.sweep import space
from retune.verify import copy, in_copy
from retune.verify.in_copy import Ran
from retune.verify.lock import Built

FILLED = ".filled"
COMPILING = ("resolve", "watch")
ALONE = threading.Lock()
"""Held while declarations are compiled, which is not for several threads."""


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
            ran = in_copy.run(work, one.address, one.cmd)
            if ran.status:
                raise _failed(one, ran)
            say(f"{one.address}: {ran.seconds:.1f} s, once for all trials")


def train(
    folder: Path,
    work: Path,
    stage: Instance,
    model: str,
    values: dict[str, Any],
    watch: Callable[[float], bool],
    environment: Mapping[str, str],
) -> Ran:
    """Train the model with these values in a copy, until `watch` says that it is to stop.

    Raises `RetuneError` for values that can't be built, and with its last words where the training fails.
    """
    with ALONE, set_params.tried(folder, space.overrides(model, values)) as params:
        _declare(work, resolve(folder, params))
    for out in stage.outs:  # of the fold before
        target = work / out
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    ran = in_copy.run(work, stage.address, stage.cmd, watch=watch, environment=environment)
    if ran.status and not ran.stopped:
        raise _failed(stage, ran)
    return ran


def _declare(work: Path, resolution: Resolution) -> None:
    with replacing(work / RESOLVED) as part:  # it may be a link to that of another copy
        part.write_text(reads.dumps(resolution.resolved), encoding="utf-8")
    reads.write(resolution.files, work)


def _built(one: Instance) -> Built:
    return Built(one.address, one.cmd, dict.fromkeys(one.deps, ""), dict.fromkeys(one.outs, ""), ())


def _failed(stage: Instance, ran: Ran) -> RetuneError:
    return RetuneError(f"{stage.address} failed: " + " | ".join(ran.last_words(3)))
