"""An output of another revision, or of another project: named by a Git revision, brought by DVC, kept by its content.

    v1.2:models/intent_encoder                           a branch, tag or commit of the project here
    https://git.example.org/team/retune@v1.2:models/intent_encoder
    /srv/project@v1.2:exports/intent_encoder         without @REV: the default branch (of a folder: its HEAD)

Git says what dvc.lock of the revision names, DVC's cache or remote has the files. Each output is kept whole in
`$RETUNE_CACHE/outputs`, by its hash, so that revisions share what they have in common and a second use asks nobody.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from retune.errors import RetuneError, unknown
from retune.pipeline import remote
from retune.pipeline.yaml_file import LOADER
from retune.sources import cache

LOCK = "dvc.lock"
DEFAULT = "refs/retune/default"
"""Where the default branch of a repository elsewhere is kept."""
COMMIT, HASH = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{32}(\.dir)?")
FORM = "REV:models/NAME, or REPO@REV:exports/NAME"

log = logging.getLogger("retune")


@dataclass(frozen=True)
class Address:
    """Where a model is: `repo` is a folder or an address of Git (None: the project here), `path` its place there."""

    repo: str | None
    rev: str | None
    path: str

    def __str__(self) -> str:
        where = self.repo or ""
        return f"{where}{'@' * bool(where and self.rev)}{self.rev or ''}:{self.path}"


@dataclass(frozen=True)
class Revision:
    """One commit of a project. `git`: the folder of its repository here; `prefix`: the project's place in that."""

    asked: Address
    git: Path
    prefix: str
    commit: str
    project: Path | None
    """The folder of the project, whose cache and remote are used; None: the repository is elsewhere."""

    def text(self, path: str) -> str | None:
        """A file that Git keeps, as it was in this commit."""
        return _git(self.git, "show", f"{self.commit}:{self.prefix}{path}")

    @cached_property
    def stages(self) -> dict[str, Any]:
        """What dvc.lock of this commit says. Raises `RetuneError` without one."""
        text = self.text(LOCK)
        if text is None:
            raise RetuneError(f"{self} has no {self.prefix}{LOCK}, so nothing was built there")
        found: dict[str, Any] = (yaml.load(text, LOADER) or {}).get("stages") or {}
        return found

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Path -> hash of all that was built, as dvc.lock has it."""
        made = [out for entry in self.stages.values() for out in entry.get("outs") or ()]
        return {out["path"]: out["md5"] for out in made if HASH.fullmatch(str(out.get("md5")))}

    def __str__(self) -> str:
        where = f" of {self.asked.repo}" if self.asked.repo else ""
        name = self.asked.rev or "the default branch"
        return f"{name}{where}" if self.commit.startswith(name) else f"{name}{where} (commit {self.commit[:12]})"


def parse(name: str) -> Address | None:
    """The address that a name spells; None for a plain folder. Raises `RetuneError` for half of one.

    A `@` behind the host of an address, or in the path of a folder, begins the revision; one in a revision alone, as in
    the tags of a registry (`intent_encoder@v1.0.0:models/intent_encoder`), is a part of it.
    """
    head, colon, path = name.rpartition(":")
    if not colon or Path(name).exists():
        return None
    if not head or path.startswith("//"):
        raise RetuneError(f"{name} does not say which model: write {FORM}")
    if "://" in head:
        start = head.find("/", head.index("://") + 3)
    elif ":" in head:  # git@host:team/project
        start = head.index(":")
    elif head.startswith(("/", ".", "~")):
        start = 0
    else:
        return Address(None, head, path)
    at = head.find("@", start) if start >= 0 else -1
    return Address(head, None, path) if at < 0 else Address(head[:at], head[at + 1 :] or None, path)


def address(folder: str, repo: str | None, rev: str | None) -> Address | None:
    """Where a model of a revision is; None: it lies in a folder here, as it is now."""
    if repo is None and rev is None:
        return parse(folder)
    if rev is None and Path(str(repo)).expanduser().is_dir():
        return None
    if repo is None and len(Path(folder).parts) > 2:  # models/NAME of a project that is not here
        place = Path(folder)
        return Address(str(place.parent.parent), rev, f"{place.parent.name}/{place.name}")
    return Address(repo, rev, folder)


def find(address: Address) -> Revision:
    """The commit that an address means now. Raises `RetuneError` for an unknown repository or revision."""
    path = PurePosixPath(address.path)
    if len(path.parts) != 2 or path.parts[0] not in ("models", "exports"):
        raise RetuneError(f"`{address.path}` of {address} is no models/NAME or exports/NAME: write {FORM}")
    folder = Path(address.repo or ".").expanduser()
    if folder.is_dir():
        prefix = _git(folder, "rev-parse", "--show-prefix") or ""
        return Revision(address, folder, prefix.strip(), _commit(folder, address, "HEAD"), _project(folder))
    git = _mirror(address)
    return Revision(address, git, "", _commit(git, address, DEFAULT), None)


def _project(folder: Path) -> Path | None:
    return folder if (folder / ".dvc").is_dir() else None


def _commit(git: Path, address: Address, default: str) -> str:
    where = f" of {address.repo}" if address.repo else ""
    tried = _run(git, "rev-parse", "--git-dir")
    if tried.returncode:
        raise RetuneError(
            f"Git knows no revision in {git.absolute()} ({_said(tried)}): name a repository, REPO@REV:..."
        )
    for name in (address.rev or default, f"refs/remotes/origin/{address.rev}"):
        found = _git(git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if found:
            return found.strip()
    known = (_git(git, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or "").split()
    fetch = "" if address.repo else "; `git fetch --all --tags` gets what others have pushed"
    raise RetuneError(f"{unknown('revision', address.rev or 'HEAD', known, where)}{fetch}")


def _mirror(address: Address) -> Path:
    """A copy of a repository elsewhere, without its files, brought up to date; a commit that it has asks nobody."""
    repo = str(address.repo)
    git = cache.folder() / "git" / hashlib.sha256(repo.encode()).hexdigest()[:16]
    git.mkdir(parents=True, exist_ok=True)
    with cache.locked(git):
        if _git(git, "rev-parse", "--git-dir") is None:
            _git(git, "init", "-q", "--bare")
        if address.rev and COMMIT.fullmatch(address.rev) and _git(git, "cat-file", "-e", address.rev) is not None:
            return git
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", f"+HEAD:{DEFAULT}")
        done = _run(git, "fetch", "-q", "--force", "--prune", "--no-tags", "--end-of-options", repo, *refs)
    if done.returncode:
        raise RetuneError(
            f"there is no folder {repo}, and Git can't fetch from it ({_said(done)}): check the address and your access"
        )
    return git


def bring(revision: Revision, paths: Mapping[str, str]) -> dict[str, Path]:
    """Folders or files of outputs, path -> what a message calls it, in the cache; fetched where they are not there.

    Raises `RetuneError` for what the revision did not build, and where its files are in no cache and no remote.
    """
    for path, what in paths.items():
        if path not in revision.outputs:
            above = str(PurePosixPath(path).parent)
            known = [PurePosixPath(one).name for one in revision.outputs if str(PurePosixPath(one).parent) == above]
            raise RetuneError(unknown(what, PurePosixPath(path).name, known, f" in {revision}"))
    wanted = {path: revision.outputs[path] for path in paths}
    places = {path: _place(path, md5) for path, md5 in wanted.items()}
    if lost := {path: md5 for path, md5 in wanted.items() if not places[path].exists()}:
        remote.bring(
            revision.project or str(revision.asked.repo),
            lost,
            lambda path, files: _keep(files, places[path]),
            lambda said: log.info("%s: %s", revision, said),
        )
    return places


def _place(path: str, md5: str) -> Path:
    return cache.folder() / "outputs" / md5.removesuffix(".dir") / PurePosixPath(path).name


def _keep(files: Mapping[str, Path], target: Path) -> None:
    """Put an output in its place, all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with cache.locked(target.parent):
        if target.exists():
            return
        part = target.with_name(f".{target.name}.part")
        _remove(part)  # of a process that was killed: the lock is ours
        for name, file in files.items():
            if ".." in Path(name).parts or Path(name).is_absolute():  # a list of files that no DVC wrote
                raise RetuneError(f"{target.name} has a file {name} outside of itself: it is not taken")
            copy = part / name if name else part
            copy.parent.mkdir(parents=True, exist_ok=True)
            _link(file, copy)
        part.rename(target)


def _link(file: Path, copy: Path) -> None:
    """No second copy where one file system holds both: files of DVC's cache and of this one are read only."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _git(folder: Path, *arguments: str) -> str | None:
    """What Git prints; None where it fails."""
    done = _run(folder, *arguments)
    return None if done.returncode else done.stdout.decode("utf-8", "replace")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of what Git complained of."""
    return next((line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()), "?")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False, env=environment)
    except FileNotFoundError:
        raise RetuneError("a model of another revision is found by Git, which is not installed") from None
