"""Run stages again in a copy of the project, and compare every output with what dvc.lock says was built."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from retune.errors import RetuneError
from retune.pipeline import dvc_hash, impact
from retune.progress import bar
from retune.training import provenance
from retune.verify import copy, in_copy, lock, machine
from retune.verify.differences import differing
from retune.verify.lock import Built

BAR = "{percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s{postfix}"


@dataclass(frozen=True)
class Output:
    """One output of a stage: how many files it has, and in words what differs; none: it has the same bytes.

    `inherited`: an input of its stage differed already.
    """

    stage: str
    path: str
    files: int
    differences: list[str]
    inherited: bool = False


@dataclass
class Verified:
    """What a verification found: the outputs of all stages in their order, and notes on the machine, by model."""

    outputs: list[Output] = field(default_factory=list)
    machine: dict[str, list[str]] = field(default_factory=dict)
    copy: Path | None = None

    @property
    def same(self) -> bool:
        """Whether every output has the bytes that dvc.lock tells."""
        return not any(one.differences for one in self.outputs)


def verify(
    folder: Path, models: Sequence[str], keep: bool = False, say: Callable[[str], None] = lambda _: None
) -> Verified:
    """Rebuild the stages of models (none: all that compute) in a copy, and compare their outputs with dvc.lock's.

    Nothing outside of the copy changes, however this ends. `say` gets a line for each stage. Raises `RetuneError` where
    something was not built, changed since, or fails in the copy.
    """
    stages = lock.chosen(folder, models)
    lock.check_fresh(folder, stages)
    seconds = {one.address: impact.last_seconds(folder, one.stage, one.key) for one in stages}
    known = [one for one in seconds.values() if one is not None]
    unknown = f", without {len(seconds) - len(known)} that did not run here" if len(known) < len(seconds) else ""
    say(f"{len(stages)} stages run in a copy, {impact.duration(sum(known))} by last time{unknown}")
    recorded = {one.key: path for one in lock.read(folder) if one.stage in lock.RECORDED for path in one.outs}
    for one in stages:
        if one.stage == "train" and (path := recorded.get(one.key)):
            say(f"{one.address} begins with what was recorded in {path}, as its build did; that is not made again")
    found = Verified()
    with copy.scratch(folder, keep) as made, bar(total=sum(known), disable=not known, bar_format=BAR) as progress:
        found.copy = made if keep else None
        copy.fill(folder, made, stages)
        differs: set[str] = set()
        for one in stages:
            progress.set_postfix_str(one.address)
            took = _run(one, made, _threads(folder, one), progress, seconds[one.address] or 0.0)
            inherited = any(lock.reads(one, other) for other in stages if other.address in differs)
            compared = [_compare(folder, made, one, path, md5, inherited) for path, md5 in one.outs.items()]
            found.outputs += compared
            if bad := [out.path for out in compared if out.differences]:
                differs.add(one.address)
            if one.stage == "train":
                _note_machine(folder, made, one.key, found)
            say(f"{one.address}: {impact.duration(took)}, " + (f"{', '.join(bad)} differs" if bad else "same bytes"))
    return found


def _threads(folder: Path, one: Built) -> int:
    """The threads that the model's training had, for `hardware.threads: 0`; 0 where nothing says so."""
    had = provenance.read(folder / "models" / one.key).get("machine", {}) if one.stage in lock.MODEL else {}
    return int(had.get("threads", 0)) * int(had.get("processes", 1))


def _run(one: Built, made: Path, threads: int, progress: tqdm, expected: float) -> float:
    """Run a stage in the copy; the seconds that it took. Raises `RetuneError` with its last words where it fails."""
    shown = 0.0

    def watch(seconds: float) -> bool:
        nonlocal shown
        step = min(seconds, expected) - shown
        shown += step
        progress.update(step)
        return False

    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    ran = in_copy.run(made, one.address, one.command, watch=watch, environment=environment)
    progress.update(expected - shown)
    if ran.status:
        raise RetuneError("\n  ".join([f"{one.address} was built here and fails in the copy:", *ran.last_words(5)]))
    return ran.seconds


def _compare(folder: Path, made: Path, one: Built, path: str, md5: str, inherited: bool) -> Output:
    rebuilt, here = made / path, folder / path
    count = sum(file.is_file() for file in rebuilt.rglob("*")) if rebuilt.is_dir() else int(rebuilt.exists())
    found: list[str] = []
    kept = dvc_hash.of(here) if here.exists() else None
    if not rebuilt.exists():
        found = ["is not made any more"]
    elif dvc_hash.of(rebuilt) != md5:
        if kept == md5:
            found = differing(here, rebuilt)
        else:
            found = [f"{dvc_hash.of(rebuilt)} now, {md5} in {lock.LOCK}; what was built is not here to compare with"]
    if kept not in (None, md5):
        found.append(f"what lies in {path} is not what {lock.LOCK} says: it was changed after the build")
    return Output(one.address, path, count, found, inherited and bool(found))


def _note_machine(folder: Path, made: Path, model: str, found: Verified) -> None:
    """Note where the machine of the copy is another one than that of the model."""
    built, here = (provenance.read(top / "models" / model) for top in (folder, made))
    if built and here and (said := machine.differences(built, here)):
        found.machine[model] = said
