"""What a kill or a full disk leaves behind around the outputs, put right before it can stop a later build.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place: a kill in the middle leaves them cut, and every later run refuses
them. It holds entries of rwlock for locks as long as there is a process of that number, a zombie too. So each stage
keeps a copy of `dvc.lock` at its start (`keep`), and `recover` mends both files: at the start of `retune repro`, and
when DVC has ended, by a small process that a stage starts (retune.pipeline.guard), because DVC reads its files before
any stage begins. Nothing in `dvc.lock` is believed by DVC: what stages had recorded since the copy
comes back from the run-cache, or is run again.

Nothing here can change what a stage computes (retune.pipeline.uncounted).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.errors import RetuneError
from retune.params import STATE
from retune.pipeline import processes

LOCK, TEMPORARY = Path("dvc.lock"), Path(".dvc/tmp")
GOOD, DAMAGED = STATE / "dvc.lock.good", STATE / "dvc.lock.damaged"
HEAD = "schema: '2.0'\nstages:\n"
MERGE = "\n<<<<<<< "

FULL = (errno.ENOSPC, errno.EDQUOT)

PATIENCE = 5.0
"""Seconds in which a stage that must end may do so, and a build waits for the end of one that was killed."""

Entry = dict[str, Any]


def keep() -> None:
    """Copy `dvc.lock` to where `recover` finds it, unless another DVC writes it just now. A full disk is no error."""
    with contextlib.suppress(OSError), held(TEMPORARY / "lock", 0) as mine:
        text = LOCK.read_text(encoding="utf-8")
        if mine and not (GOOD.exists() and GOOD.read_text(encoding="utf-8") == text) and whole(text):
            GOOD.parent.mkdir(exist_ok=True)
            with replacing(GOOD) as part:
                part.write_text(text, encoding="utf-8")


def whole(text: str) -> bool:
    """Whether a `dvc.lock` is not cut: its head is there, and its last stage is what DVC's schema asks for.

    Stages before the last are whole in what DVC has begun to write; so 400 stages cost no more than one.
    """
    if not text.endswith("\n") or not text.startswith("schema: ") or MERGE in text:
        return False
    stages = list(_stages(text).values())
    return _valid(stages[-1]) if stages else "\nstages: {}\n" in text


def recover(wait: float = PATIENCE) -> list[str]:
    """Mend `dvc.lock` and rwlock of the current folder; a line for each thing that was done.

    Waits up to `wait` seconds for DVC to finish what it may be writing. Raises `RetuneError` for the marks of a merge.
    """
    if not TEMPORARY.is_dir():
        return []
    said = []
    if _cut():
        with held(TEMPORARY / "lock", wait) as mine:
            if mine and _cut():
                said.append(_mend())
    with held(TEMPORARY / "rwlock.lock", wait) as mine:
        return said + (_release(TEMPORARY / "rwlock") if mine else [])


def _cut() -> bool:
    try:
        return not whole(LOCK.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return False


def _mend() -> str:
    """Write `dvc.lock` anew: what of it is whole, and the other stages as the copy has them."""
    text = LOCK.read_text(encoding="utf-8", errors="replace")
    if MERGE in text:
        raise RetuneError(
            "dvc.lock holds the marks of a merge: take one side (`git checkout --ours dvc.lock`) and rerun"
        )
    kept = GOOD.read_text(encoding="utf-8") if GOOD.exists() else ""
    if "\ndatasets:" not in kept:
        found = dict(list(_stages(text).items())[:-1]) if text.startswith(HEAD) else {}
        found |= {name: lines for name, lines in _stages(kept).items() if name not in found}
        kept = HEAD + "".join(found.values()) if found else ""
    with contextlib.suppress(OSError):
        shutil.copyfile(LOCK, DAMAGED)
    try:
        if kept:
            with replacing(LOCK) as part:
                part.write_text(kept, encoding="utf-8")
        else:
            LOCK.unlink()
    except OSError as error:
        if error.errno not in FULL:
            raise
        # a full disk: what takes no room; what is missing then comes from the run-cache
        GOOD.replace(LOCK) if GOOD.exists() else LOCK.unlink()
    count = len(_stages(LOCK.read_text(encoding="utf-8"))) if LOCK.exists() else 0
    return (
        f"dvc.lock was cut by a kill or a full disk: put back with {count} stages; others that were done come from the "
        f"run-cache (the damaged file is {DAMAGED})"
    )


def _stages(text: str) -> dict[str, str]:
    """Stage -> its lines in `dvc.lock`."""
    body = re.split(r"(?m)^(?=\S)", text.partition("\nstages:\n")[2])[0]
    blocks = re.split(r"(?m)^(?=  \S)", body)
    return {block.partition("\n")[0]: block for block in blocks if block.startswith("  ")}


def _valid(block: str) -> bool:
    import yaml

    try:
        ((name, entry),) = yaml.safe_load(block).items()
    except (yaml.YAMLError, ValueError, AttributeError):
        return False
    if not isinstance(name, str) or not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    listed = [entry.get(part, []) for part in ("deps", "outs")]
    if not isinstance(params := entry.get("params", {}), dict) or not all(isinstance(one, list) for one in listed):
        return False
    files = [file for part in listed for file in part]
    return all(isinstance(value, dict) for value in params.values()) and all(
        isinstance(file, dict) and isinstance(file.get("path"), str) and None not in file.values() for file in files
    )


def _release(path: Path) -> list[str]:
    """Take the entries of dead processes out of rwlock, and the file away where it is cut."""
    try:
        locks = json.loads(path.read_text(encoding="utf-8"))
        left = {
            "write": {k: one for k, one in locks.get("write", {}).items() if _lives(one)},
            "read": {k: some for k, all_ in locks.get("read", {}).items() if (some := [o for o in all_ if _lives(o)])},
        }
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError):
        path.unlink()
        return [f"{path} was cut by a kill or a full disk: removed"]
    dead = {one["pid"]: one["cmd"] for one in _entries(locks) if not _lives(one)}
    if not dead:
        return []
    if left["write"] or left["read"]:
        with replacing(path) as part:
            part.write_text(json.dumps(left), encoding="utf-8")
    else:
        path.unlink()
    return [f"cleared the locks of process {pid} (`{command}`), which has ended" for pid, command in dead.items()]


def _entries(locks: Entry) -> list[Entry]:
    return [*locks.get("write", {}).values(), *(one for some in locks.get("read", {}).values() for one in some)]


def _lives(entry: Entry) -> bool:
    return processes.runs(entry["pid"], entry["cmd"])


@contextlib.contextmanager
def held(path: Path, wait: float) -> Iterator[bool]:
    """Hold a lock of DVC (zc.lockfile: flock) while the block runs; False where another process kept it."""
    try:
        stream = path.open("rb+")  # NFS locks only what may be written; nothing is: a full disk must not stop it
    except FileNotFoundError:
        yield True
        return
    with stream:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= end:
                    yield False
                    return
                time.sleep(0.1)
        yield True


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Be the only build of this folder: raises `RetuneError` where another `retune repro` or `dvc repro` lives on."""
    path = STATE / "locks/repro"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        end = time.monotonic() + PATIENCE  # one that was killed is ending
        while other := _other(stream):
            if time.monotonic() >= end:
                raise RetuneError(f"{other} is building in this folder: wait for it or end it, then run this again")
            time.sleep(0.2)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} (`retune repro`)")
        stream.flush()
        yield


def _other(stream: Any) -> str:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        return stream.read() or "another `retune repro`"
    try:
        writers = json.loads((TEMPORARY / "rwlock").read_text(encoding="utf-8")).get("write", {}).values()
        return next((f"process {one['pid']} (`{one['cmd']}`)" for one in writers if _lives(one)), "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""
