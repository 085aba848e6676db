"""The finished trials of a sweep as experiments of DVC, seen by `dvc exp show`: commits that no branch holds.

A trial's commit is the workspace as the sweep found it, with the trial's values in params.yaml, what they resolve to,
and its dev metrics in reports/metrics/MODEL.json. Metrics of what those values make stale are left out: no trial shows
the test metrics of another model. It is written into a git index of its own, so workspace and index stay as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import RESOLVED
from retune.pipeline import instances, reads, set_params
from retune.pipeline.declarations import PARAMS
from retune.pipeline.resolve import Resolution, resolve
from retune.sweep import space
from retune.sweep.record import Trial
from retune.sweep.search import Sweep

METRICS = "reports/metrics/"
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "retune sweep"), ("EMAIL", "retune@localhost"))
}


def check(folder: Path) -> None:
    """Raise `RetuneError` where there is no commit that an experiment could belong to."""
    if not _git(folder, "rev-parse", "-q", "--verify", "HEAD", wrong=""):
        raise RetuneError("--experiments: an experiment of DVC belongs to a commit of git, and there is none here yet")


def keep(folder: Path, found: Sweep) -> list[str]:
    """Make every finished trial an experiment NAME-NUMBER of the last commit; their names, the best first.

    Those of an earlier study of this name go. Raises `RetuneError` where an experiment of another origin has the name.
    """
    head = _git(folder, "rev-parse", "HEAD")
    refs, subject = f"refs/exps/{head[:2]}/{head[2:]}/", f"retune sweep {found.name}"
    names = [f"{found.name}-{one.number}" for one in found.done]
    listed = _git(folder, "for-each-ref", "--format=%(refname) %(subject)", refs).splitlines()
    there = dict(line.removeprefix(refs).split(" ", 1) for line in listed)
    if taken := [name for name in names if there.get(name, subject) != subject]:
        raise RetuneError(
            f"the experiment {taken[0]} is not of this sweep: take another --name, or `dvc exp remove` it"
        )
    for name in (name for name, said in there.items() if said == subject and name not in names):
        _git(folder, "update-ref", "-d", refs + name)
    built = resolve(folder)
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "workspace"
        environment = {"GIT_INDEX_FILE": str(start)}
        _git(folder, "read-tree", "HEAD", more=environment)
        _git(folder, "add", "-u", ":/", more=environment)
        for name, one in zip(names, found.done, strict=True):
            index = Path(shutil.copy2(start, Path(scratch) / name))
            commit = _commit(folder, found.model, one, built, index, subject, head)
            _git(folder, "update-ref", refs + name, commit)
    return names


def _commit(folder: Path, model: str, one: Trial, built: Resolution, index: Path, subject: str, head: str) -> str:
    with set_params.tried(folder, space.overrides(model, one.values)) as params:
        tried = resolve(folder, params)
        texts = {PARAMS: params.read_text(encoding="utf-8")}
    texts[RESOLVED.as_posix()] = reads.dumps(tried.resolved)
    texts |= {name: text for name, text in tried.files.items() if built.files.get(name) != text}
    own, stale = f"{METRICS}{model}.json", set(_stale_metrics(folder, built, tried))
    for name in sorted({own, *stale}):
        file = folder / name
        kept = json.loads(file.read_text(encoding="utf-8")) if name not in stale and file.is_file() else {}
        texts[name] = reads.dumps(kept | ({"dev": one.metrics} if name == own else {}))
    environment, prefix = {"GIT_INDEX_FILE": str(index), **AUTHOR}, _git(folder, "rev-parse", "--show-prefix")
    for name, text in texts.items():
        blob = _git(folder, "hash-object", "-w", "--stdin", said=text)
        _git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{name}", more=environment)
    tree = _git(folder, "write-tree", more=environment)
    return _git(folder, "commit-tree", tree, "-p", head, "-m", subject, more=environment)


def _stale_metrics(folder: Path, built: Resolution, tried: Resolution) -> Iterator[str]:
    """The files of metrics that would not be what they are, were the project built with what was tried."""
    outs: list[str] = []
    for one in instances.read(folder, {**tried.resolved, **tried.outside}):
        own = reads.path(one.stage, one.key)
        if built.files.get(own) != tried.files.get(own) or _behind(one.deps, outs):
            outs += one.outs
            yield from (out for out in one.outs if out.startswith(METRICS))


def _behind(deps: Sequence[str], outs: Sequence[str]) -> bool:
    return any(instances.overlap(dep, out) for dep in deps for out in outs)


def _git(
    folder: Path, *arguments: str, said: str | None = None, more: dict[str, str] | None = None, wrong: Any = None
) -> str:
    """What git answers; `wrong`: what stands for the answer of a git that fails, which else is a `RetuneError`."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env={**os.environ, **(more or {})}, input=said, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise RetuneError(f"git is needed: {error}") from None
    if done.returncode:
        if wrong is None:
            raise RetuneError(f"git {arguments[0]}: {done.stderr.strip()}")
        return str(wrong)
    return done.stdout.strip()
