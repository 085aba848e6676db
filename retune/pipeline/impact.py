"""What a change costs, before anything runs: which stages are stale, why, and how long each took last time.

What was built is told by the hashes in dvc.lock, what would be built by resolving the working tree; what both stand for
(retune.pipeline.meanings) is compared key by key, file by file and module by module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from retune.errors import RetuneError
from retune.params import RESOLVED, STATE
from retune.pipeline import instances, meanings, reads, set_params
from retune.pipeline.instances import Instance
from retune.pipeline.resolve import Resolution, resolve

SHOWN = 6
"""Changes of one stage that are listed."""
LONGEST = 60
"""Characters of a value that are shown."""


@dataclass
class Stale:
    """A stage instance that would run: `why` of its own, or because of stages `behind` which it stands."""

    instance: Instance
    why: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    seconds: float | None = None


def impact(folder: Path, since: str = "", overrides: Sequence[str] = ()) -> list[Stale]:
    """The stages that `dvc repro` would run in the folder with these `-S` overrides, in the order of dvc.yaml.

    `since`: what a revision's dvc.lock says was built, in place of the folder's own.
    """
    return of(folder, _resolution(folder, overrides), since)


def of(folder: Path, resolution: Resolution, since: str = "") -> list[Stale]:
    """The same of what the folder's declarations were resolved to."""
    values = {**resolution.resolved, **resolution.outside}
    lock = _lock(folder, since)
    memory = meanings.Memory(folder, since or "HEAD")
    stale: dict[str, Stale] = {}
    for one in instances.read(folder, values):
        if one.stage in ("resolve", "watch"):
            continue
        found = Stale(one, list(_why(one, lock.get(one.address), resolution, memory)))
        found.behind = [
            other.instance.address
            for other in stale.values()
            if any(instances.overlap(dep, out) for dep in one.deps for out in other.instance.outs)
        ]
        if found.why or found.behind:
            found.seconds = last_seconds(folder, one.stage, one.key)
            stale[one.address] = found
    return list(stale.values())


def _resolution(folder: Path, overrides: Sequence[str]) -> Resolution:
    if not overrides:
        return resolve(folder)
    with set_params.tried(folder, overrides) as params:
        return resolve(folder, params)


def _lock(folder: Path, since: str) -> dict[str, Any]:
    if since:
        text = meanings.at_revision(folder, since, "dvc.lock")
        if text is None:
            raise RetuneError(f"--since {since}: there is no such revision, or no dvc.lock in it; `git log` lists them")
    else:
        file = folder / "dvc.lock"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    loaded = yaml.load(text, instances.LOADER) or {}
    stages: dict[str, Any] = loaded.get("stages") or {}
    return stages


def _why(one: Instance, locked: dict[str, Any] | None, new: Resolution, memory: meanings.Memory) -> Iterator[str]:
    """What changed for an instance since `locked`, its entry of dvc.lock."""
    if locked is None:
        yield "was never built"
        return
    before = (locked.get("params") or {}).get(RESOLVED.as_posix(), {})
    for param in one.params:
        value: Any = new.resolved
        for key in param.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if before.get(param) != value:
            yield _told(param, before.get(param, ...), value)
    files = {dep["path"]: dep.get("md5") for dep in locked.get("deps") or []}
    for path in files.keys() & new.files.keys():
        if files[path] != (now := reads.digest(new.files[path])):
            task = new.resolved["models"].get(one.key, {}).get("task", "")
            place = reads.READS.get(one.stage, "").format(key=one.key, task=task)
            yield from _differences(place, memory.get(files[path]), new.meanings[now])
    if files.keys() != set(one.deps):
        yield "reads other files than it did"
    for out in sorted({out["path"] for out in locked.get("outs") or []} ^ set(one.outs)):
        yield f"its outputs are others: {out}"


def _differences(place: str, old: Any, new: Any) -> Iterator[str]:
    """What differs between two meanings of an instance's file; `place`: the keys above what it reads."""
    if old is None:
        yield "its parameters or its code changed"
        return
    was, now = (dict(_leaves(value["reads"], place)) for value in (old, new))
    for path in [*was, *(path for path in now if path not in was)]:
        if was.get(path, ...) != now.get(path, ...):
            yield _told(path, was.get(path, ...), now.get(path, ...))
    if was == now and json.dumps(old["reads"]) != json.dumps(new["reads"]):
        yield "the order of its parameters changed"
    was, now = old["code"]["modules"], new["code"]["modules"]
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield f"module {name}" + (
                " is new to it" if name not in was else " is not run any more" if name not in now else ""
            )
    was, now = old["code"]["packages"], new["code"]["packages"]
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield f"package {name} {was.get(name, 'none')} -> {now.get(name, 'none')}"


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Dotted path -> value, for every value that is no mapping."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def _told(path: str, was: Any, now: Any) -> str:
    if all(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in (was, now)):
        return f"file {path.partition('.files.')[2] or path} changed"
    return f"{path} {_short(was)} -> {_short(now)}"


def _short(value: Any) -> str:
    if value is ...:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def last_seconds(folder: Path, stage: str, key: str) -> float | None:
    """How long an instance took when it last ran here, by its log."""
    log = folder / STATE / "logs" / f"{stage}-{key}.log"
    found = re.findall(r"INFO done in ([\d.]+) s$", log.read_text(encoding="utf-8"), re.M) if log.is_file() else []
    return float(found[-1]) if found else None


def table(stale: Sequence[Stale]) -> str:
    """The stages with their reasons and times, for people."""
    if not stale:
        return "nothing is stale"
    own, after = [one for one in stale if one.why], [one for one in stale if not one.why]
    width = max(len(one.instance.address) for one in stale)
    lines = []
    reasons: dict[tuple[str, ...], list[Stale]] = {}
    for one in own:
        reasons.setdefault(tuple(one.why), []).append(one)
    for why, group in reasons.items():
        shown = [*why[:SHOWN], *([f"and {len(why) - SHOWN} more"] if len(why) > SHOWN else [])]
        lines += [f"{reason}" for reason in shown]
        lines += [f"    {one.instance.address:<{width}}  {duration(one.seconds)}" for one in group]
    if after:
        lines += ["and behind these, where their results differ"]
        lines += [f"    {one.instance.address:<{width}}  {duration(one.seconds)}" for one in after]
    known = [one.seconds for one in stale if one.seconds is not None]
    missing = len(stale) - len(known)
    said = (
        f"{len(own)} stages run, {len(after)} more may: {duration(sum(known))} of last time"
        if known
        else (f"{len(own)} stages run, {len(after)} more may")
    )
    return "\n".join([*lines, said + (f", without {missing} that did not run here" if missing else "")])


def duration(seconds: float | None) -> str:
    """Seconds or minutes, for people."""
    if seconds is None:
        return "?"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def records(stale: Sequence[Stale]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {"stage": one.instance.address, "why": one.why, "behind": one.behind, "seconds": one.seconds} for one in stale
    ]
