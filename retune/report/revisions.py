"""What a revision holds: files that Git keeps, and stage outputs by the hashes of its dvc.lock, from cache or remote.

Nothing is checked out, and outputs that lie in the folder are not looked at: after `git checkout` they may still be
those of another branch. Git's own command reads files of another revision: DVC reads them through pygit2, of which some
versions can wait for ever.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from retune.errors import RetuneError
from retune.params import RESOLVED, RESOLVED_PARTS, Params, loads

LOCK = "dvc.lock"
PREDICTED = ("download", "convert", "augment", "split", "train", "predict", "calibrate")
"""The stages that predictions and what is fitted to them come from."""


@dataclass(frozen=True, eq=False)
class Revision:
    """One state of the project in `root`: `commit`, or the working tree with the dvc.lock that lies there (None).

    `resolved` is its params-resolved.json, `stages` what its dvc.lock says of each stage.
    """

    name: str
    root: Path
    commit: str | None
    resolved: Params
    stages: dict[str, Any]
    opened: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def short(self) -> str:
        """The name, with the commit where it says more."""
        if self.commit is None or self.commit.startswith(self.name):
            return self.name if self.commit is None else self.commit[:9]
        return f"{self.name} ({self.commit[:9]})"

    @functools.cached_property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Path -> entry of dvc.lock, of every output."""
        return {out["path"]: out for stage in self.stages.values() for out in stage.get("outs", ())}

    @functools.cached_property
    def _system(self) -> Any:
        """The outputs by DVC: a project of nothing but their hashes, with the cache and the remotes of `root`."""
        import dvc.api

        here = dvc.api.DVCFileSystem(str(self.root)).repo
        folder = Path(self.opened.enter_context(tempfile.TemporaryDirectory(prefix="retune-gate-")))
        (folder / ".dvc").mkdir()
        (folder / ".dvc/config").touch()
        kept = ("path", "hash", "md5", "size", "nfiles")
        outs = [
            {key: out[key] for key in kept if key in out}
            for path, out in self.outputs.items()
            if path.startswith(("data/splits/", "data/predictions/", "data/calibrations/"))
        ]
        (folder / "outputs.dvc").write_text(yaml.safe_dump({"outs": outs}), encoding="utf-8")
        core = {**here.config["core"], "no_scm": True, "site_cache_dir": str(folder / "site")}
        config = {"core": core, "remote": here.config["remote"], "cache": {"dir": here.cache.local_cache_dir}}
        return dvc.api.DVCFileSystem(str(folder), config=config)

    def read(self, path: str) -> bytes:
        """The bytes of an output, or of a file in one; raises `RetuneError` where it can't be had."""
        if not any(path == out or path.startswith(f"{out}/") for out in self.outputs):
            raise RetuneError(f"{self.short}: {LOCK} does not know {path}: {self._remedy}")
        try:
            found: bytes = self._system.read_bytes(path)
        except Exception as error:  # each remote has errors of its own, and DVC's are not all of one class
            raise RetuneError(
                f"{self.short}: {path} is neither in DVC's cache nor in a remote that answers ({_line(error)}): "
                f"{self._remedy}"
            ) from error
        return found

    @property
    def _remedy(self) -> str:
        if self.commit is None:
            return "run `dvc repro`, or `dvc commit` after one with --no-commit"
        return f"check {self.name} out, run `dvc repro`, commit {LOCK} and `dvc push`, so that others can fetch it"

    @functools.cache  # noqa: B019 (a revision lives as long as the command)
    def table(self, path: str) -> pl.DataFrame:
        """A Parquet file."""
        return pl.read_parquet(io.BytesIO(self.read(path)))

    @functools.cache  # noqa: B019
    def json(self, path: str) -> Any:
        """A JSON file."""
        return json.loads(self.read(path))

    def stale(self, task: str, model: str) -> list[str]:
        """The stages behind a model's predictions that were not built since their code, parameters or model changed."""
        return [
            name
            for stage in PREDICTED
            for name in (f"{stage}@{task}", f"{stage}@{model}")
            if name in self.stages and self._behind(name)
        ]

    def _behind(self, name: str) -> bool:
        entry = self.stages[name]
        read = ((dep["path"], dep.get("md5")) for dep in entry.get("deps", ()))
        here = self._resolved_files | {path: out.get("md5") for path, out in self.outputs.items()}
        return any(path in here and here[path] != md5 for path, md5 in read)

    @functools.cached_property
    def _resolved_files(self) -> dict[str, str | None]:
        """Path -> hash, of what each stage instance depends on by the declarations and the code."""
        if self.commit is None:
            files = {
                file.relative_to(self.root): file.read_bytes() for file in (self.root / RESOLVED_PARTS).rglob("*.json")
            }
            return {path.as_posix(): _md5(content) for path, content in files.items()}
        command = ["git", "archive", "--format=tar", self.commit, str(RESOLVED_PARTS)]
        done = subprocess.run(command, cwd=self.root, capture_output=True, check=False)
        if done.returncode:
            return {}
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            return {one.name: _md5(file.read()) for one in archive if (file := archive.extractfile(one))}


def at(root: Path, name: str | None, opened: ExitStack) -> Revision:
    """The revision that Git knows by a name, or the working tree (None); it can be read until `opened` is closed.

    Raises `RetuneError` where there is no such revision, or none that `dvc repro` has built.
    """
    if name is None:
        texts = {path: _text(root / path) for path in (str(RESOLVED), LOCK)}
        commit, shown = None, "the working tree"
    else:
        commit, shown = commit_of(root, name), name
        texts = {path: _git(root, "show", f"{commit}:./{path}") for path in (str(RESOLVED), LOCK)}
    for path, text in texts.items():
        if text is None:
            remedy = "run `dvc repro`" if name is None else f"check it out, run `dvc repro` and commit {path}"
            raise RetuneError(f"{shown} has no {path}, so nothing is known to be built there: {remedy}")
    stages = yaml.load(texts[LOCK] or "", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    return Revision(shown, root, commit, loads(texts[str(RESOLVED)] or "{}"), stages.get("stages", {}), opened)


def commit_of(root: Path, name: str) -> str:
    """The commit that a name means; raises `RetuneError` where there is none."""
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found is None:
        raise RetuneError(
            f"Git knows no revision `{name}` here: give another, or fetch it first (`git fetch origin {name}`; in CI "
            "the whole history is needed, as by `fetch-depth: 0`)"
        )
    return found.strip()


def behind(root: Path, base: str, head: str | None) -> int:
    """How many commits the base has that `head` (None: HEAD) does not hold."""
    found = _git(root, "rev-list", "--count", f"{head or 'HEAD'}..{base}")
    return int(found or 0)


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    return done.stdout.decode("utf-8") if done.returncode == 0 else None


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _md5(content: bytes) -> str:
    """The hash by which DVC knows a file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def names(revision: Revision) -> Iterator[tuple[str, str]]:
    """Task and model of every model, in the order of params.yaml."""
    for task, section in revision.resolved.tasks.items():
        yield from ((task, model) for model in section.models)
