"""Python, locked packages, git and DVC."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from retune.doctor.finding import OK, PROBLEM, WARNING, Finding

LISTED = 6
OLDEST = (3, 11)


def python() -> Finding:
    """Whether this Python is new enough."""
    said = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        return Finding("python", PROBLEM, said, "Retune needs Python 3.11 or newer: make PYTHON=python3.12")
    return Finding("python", OK, f"{said} ({sys.executable})")


def packages(root: Path) -> list[Finding]:
    """Locked packages that are not there, or in another version; those that Retune itself names come first."""
    lock = root / "requirements.lock"
    if not lock.is_file():
        return [Finding("packages", WARNING, "requirements.lock is missing", "`git checkout requirements.lock`")]
    locked = dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;#\\]+)", lock.read_text(encoding="utf-8")))
    own = _named(root / "pyproject.toml")
    absent, other = [], []
    for name, version in locked.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if found.partition("+")[0] != version.partition("+")[0]:
            other.append(f"{name} {found} (locked {version})")
    needed = [name for name in absent if _plain(name) in own]
    findings = []
    if needed:
        findings.append(Finding("packages", PROBLEM, f"not installed: {_listed(needed)}", INSTALL))
    if mattering := [one for one in other if _plain(one.partition(" ")[0]) in own]:
        said = f"other versions than locked: {_listed(mattering)}; results may differ from the team's"
        findings.append(Finding("packages", WARNING, said, INSTALL))
    rest = len(absent) - len(needed) + len(other) - len(mattering)
    if not findings:
        more = f"; {rest} that others bring along differ or are not there" if rest else ""
        findings.append(Finding("packages", OK, f"{len(locked)} locked, all that Retune imports are these{more}"))
    return findings


INSTALL = "`pip install -r requirements.lock` in a fresh environment (make repro does)"


def _named(pyproject: Path) -> set[str]:
    """The packages that the project itself depends on, without its extras."""
    try:
        listed = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return set()
    return {_plain(re.split(r"[\s<>=!~;\[]", one)[0]) for one in listed}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def git(root: Path) -> Finding:
    """Whether there is a git, and the project is a repository of it."""
    if not shutil.which("git"):
        return Finding("git", PROBLEM, "not found", "install git: DVC and the fingerprints of experiments need it")
    inside = run(["git", "rev-parse", "--is-inside-work-tree"], root)
    if inside != "true":
        return Finding("git", PROBLEM, f"{root.resolve()} is no repository", "`git clone` it, or `git init`")
    return Finding("git", OK, run(["git", "--version"], root).removeprefix("git version "))


def dvc(root: Path) -> list[Finding]:
    """Whether DVC runs here, and how its cache and the project share files."""
    if not shutil.which("dvc"):
        return [Finding("dvc", PROBLEM, "not found", "activate the environment: `source .venv/bin/activate`")]
    if not (root / ".dvc").is_dir():
        return [Finding("dvc", PROBLEM, "the project has no .dvc", "`git checkout .dvc`, or `dvc init`")]
    settings = dict(line.split("=", 1) for line in run(["dvc", "config", "--list"], root).splitlines() if "=" in line)
    cache = root / ".dvc" / settings.get("cache.dir", "cache")
    version = metadata.version("dvc")
    return [
        Finding("dvc", OK, f"{version}, cache in {cache.resolve()}"),
        links(root, cache, settings.get("cache.type")),
    ]


def links(root: Path, cache: Path, used: str | None) -> Finding:
    """How a file of the cache can stand in the project without lying on the disk twice; `used`: what DVC is told."""
    there = next((path for path in (cache, *cache.parents) if path.is_dir()), root)
    (root / ".dvc/tmp").mkdir(exist_ok=True)
    kinds = []
    try:
        with tempfile.TemporaryDirectory(dir=there) as near, tempfile.TemporaryDirectory(dir=root / ".dvc/tmp") as here:
            source = Path(near) / "file"
            source.write_bytes(b"x")
            for kind, link in (("reflink", _reflink), ("hardlink", os.link), ("symlink", os.symlink)):
                with contextlib.suppress(OSError):
                    link(source.absolute(), Path(here) / kind)
                    kinds.append(kind)
    except OSError as error:
        return Finding("links", PROBLEM, f"{there} can't be written ({error.strerror})", "mend its rights, or its disk")
    found = ", ".join(kinds) or "none"
    if used:
        wanted = used.strip("[]'\" ").split(",")[0].strip("' ")
        if wanted in (*kinds, "copy"):
            return Finding("links", OK, f"cache and project can share files by {found}; cache.type is {used}")
        said = f"cache.type is {used}, but there is {found} alone"
        return Finding("links", WARNING, said, "`dvc config --local cache.type copy`")
    if "reflink" in kinds:
        return Finding("links", OK, "reflinks: a file of the cache takes no room twice")
    if not kinds:
        return Finding("links", WARNING, "no links to the cache, so every output lies on the disk twice",
                       "a cache on the project's disk: `dvc cache dir --local FOLDER`")  # fmt: skip
    remedy = f"`dvc config --local cache.type {kinds[0]}` shares them (outputs are then read-only)"
    return Finding("links", OK, f"no reflinks, so every output lies on the disk twice; there is {found}", remedy)


def _reflink(source: Path, target: Path) -> None:
    """Make `target` a clone of `source` that shares its blocks."""
    if sys.platform == "darwin":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).clonefile(os.fsencode(source), os.fsencode(target), 0):
            raise OSError(ctypes.get_errno(), "no clones here")
        return
    import fcntl

    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new, FICLONE, old.fileno())


FICLONE = 0x40049409
"""Number of Linux' request for a clone (ioctl_ficlone(2))."""


def case(root: Path) -> Finding:
    """Whether the file system tells `a` from `A`."""
    if (root / "PARAMS.YAML").exists():
        said = "names that differ in case alone are one file here"
        return Finding("file system", WARNING, said, "name no two tasks or models so that they differ in case alone")
    return Finding("file system", OK, "tells upper from lower case")


def run(command: list[str], root: Path, seconds: float = 15) -> str:
    """What a command prints; empty where it fails or takes too long."""
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
