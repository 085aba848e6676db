"""What dvc.lock says was built: stages in the order in which they run, and what of it is not so any more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retune.errors import RetuneError, unknown
from retune.params import RESOLVED, load
from retune.pipeline.fingerprint import FETCHING
from retune.pipeline.instances import overlap
from retune.pipeline.yaml_file import LOADER

LOCK = "dvc.lock"

MODEL = ("train", "predict", "calibrate", "evaluate")
"""The stages that are a model's own."""

OUTSIDE = ("resolve", "watch")
"""Stages that compile declarations: their outputs are parameters here."""

RECORDED = ("warm",)
"""Stages that keep what lay there once: what a training began with is an input here."""


@dataclass(frozen=True)
class Built:
    """One stage as it was built: its command, path -> hash of what it read and made, and its files of parameters."""

    address: str
    command: str
    deps: dict[str, str]
    outs: dict[str, str]
    params: tuple[str, ...]

    @property
    def stage(self) -> str:
        """The name before the `@`."""
        return self.address.partition("@")[0]

    @property
    def key(self) -> str:
        """The name behind the `@`: a model, a task, or nothing."""
        return self.address.partition("@")[2]


def read(folder: Path) -> list[Built]:
    """All stages of the folder's dvc.lock, each behind those whose outputs it reads. Raises `RetuneError` without."""
    file = folder / LOCK
    if not file.is_file():
        raise RetuneError(f"there is no {LOCK}, so nothing was built here: run `dvc repro`")
    entries = (yaml.load(file.read_text(encoding="utf-8"), LOADER) or {}).get("stages") or {}
    return _ordered([_built(address, entry) for address, entry in entries.items()])


def _built(address: str, entry: dict[str, Any]) -> Built:
    command = entry["cmd"]
    return Built(
        address,
        command if isinstance(command, str) else " && ".join(command),
        {one["path"]: one.get("md5", "") for one in entry.get("deps") or ()},
        {one["path"]: one.get("md5", "") for one in entry.get("outs") or ()},
        tuple(entry.get("params") or ()),
    )


def _ordered(stages: list[Built]) -> list[Built]:
    left, found = list(stages), list[Built]()
    while left:
        ready = [one for one in left if not any(reads(one, other) for other in left if other is not one)]
        found += ready or left  # a cycle: DVC refuses it, and so will its status
        left = [one for one in left if one not in ready] if ready else []
    return found


def reads(one: Built, other: Built) -> bool:
    """Whether a stage reads what another one makes."""
    return any(overlap(dep, out) for dep in one.deps for out in other.outs)


def chosen(folder: Path, models: Sequence[str]) -> list[Built]:
    """The stages of these models; without any, all that compute something. Raises `RetuneError` for what isn't built.

    What dvc.lock keeps of stages that are gone does not count.
    """
    built = read(folder)
    names = {one.key for one in built if one.stage == "train"}
    for model in models:
        if model not in names:
            raise RetuneError(f"{unknown('built model', model, sorted(names))}: run `dvc repro evaluate@{model}` first")
    if models:
        wanted = {f"{stage}@{model}" for model in models for stage in MODEL}
        if lost := wanted - {one.address for one in built}:
            raise RetuneError(f"{min(lost)} was never built: run `dvc repro {min(lost)}` first")
        return [one for one in built if one.address in wanted]
    alive = set(_dvc(folder, "stage", "list", "--name-only").split())
    if lost := {name for name in alive if not _is_fixed(folder, name)} - {one.address for one in built}:
        raise RetuneError(f"{min(lost)} was never built: run `dvc repro` first, or name the models to verify")
    return [one for one in built if one.address in alive and not _is_fixed(folder, one.address)]


def _is_fixed(folder: Path, address: str) -> bool:
    """Whether a stage is none to run again: it compiles declarations, fetches, or keeps a last version."""
    stage, _, key = address.partition("@")
    if stage == "download" and (folder / RESOLVED).is_file():
        source = load(folder / RESOLVED).get("tasks", {}).get(key, {}).get("source", {})
        return source.get("kind") != "sample"
    return stage in (*FETCHING, *OUTSIDE, *RECORDED)


def check_fresh(folder: Path, stages: Sequence[Built]) -> None:
    """Raise `RetuneError` where a build would run one of the stages because its inputs or its command changed.

    Inputs that are missing here are no change, nor are those that the stages make themselves.
    """
    addresses = [one.address for one in stages]
    if any(one.address == "resolve" for one in read(folder)):
        addresses.append("resolve")
    said = json.loads(_dvc(folder, "status", "--json", *addresses) or "{}")
    made = [out for one in stages for out in one.outs]
    for address, changes in said.items():
        if why := [word for change in changes for word in _stale(change, made)]:
            raise RetuneError(
                f"{address} changed since it was built ({', '.join(why)}), so there is nothing to compare with: build "
                "first (`dvc repro`)"
            )


def _stale(change: Any, made: Sequence[str]) -> list[str]:
    if isinstance(change, str):
        return [] if change == "always changed" else [change]
    found = []
    for path, state in change.get("changed deps", {}).items():
        if isinstance(state, dict):  # a file of parameters: key -> what became of it
            found += [f"{path} {key} {became}" for key, became in state.items()]
        elif state != "deleted" and not any(overlap(path, out) for out in made):
            found.append(f"{path} {state}")
    return found


def _dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise RetuneError(f"`dvc {' '.join(arguments[:2])}` failed: {why[0].removeprefix('ERROR: ')}")
    return done.stdout


def cache(folder: Path) -> Path:
    """DVC's cache of the project."""
    return folder / _dvc(folder, "cache", "dir").strip()
