"""Where a built model comes from: what its folder says, the commit that recorded it, and the run on this machine."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from retune import run_record
from retune.errors import RetuneError, unknown
from retune.params import RESOLVED_PARTS
from retune.pipeline import dvc_hash, teachers, warm_start
from retune.pipeline.yaml_file import LOADER
from retune.training import provenance
from retune.verify import lock, machine

if TYPE_CHECKING:
    from retune.pipeline.revision import Revision


def of(folder: Path, model: str) -> dict[str, Any]:
    """All that is known of a model: JSON values. Raises `RetuneError` for one that is not built.

    `state`: same, changed (since the build) or absent, of the workspace's copy beside dvc.lock. `commit` is the newest
    one that put the model's hash into dvc.lock; None where none has. `data`: path -> hash as dvc.lock has it. `here`:
    what differs on this machine in versions. `run`: what the training took, if it ran on this machine.
    """
    built = {one.key: one for one in lock.read(folder) if one.stage in ("train", "ensemble")}
    if model not in built:
        raise RetuneError(f"{unknown('built model', model, sorted(built))}: run `dvc repro train@{model}`")
    path, entry = f"models/{model}", built[model]
    md5 = entry.outs.get(path, "")
    here = folder / path
    state = "absent" if not here.is_dir() else "same" if dvc_hash.of(here) == md5 else "changed"
    made = provenance.read(here)
    spec_file = here / "spec.json"
    spec = json.loads(spec_file.read_text(encoding="utf-8")) if spec_file.is_file() else {}
    return {
        **_known(model, md5, spec, made, entry.deps),
        "state": state,
        "commit": recorded_by(folder, entry.address, path, md5),
        "uncommitted": _changed(folder),
        "run": _run(folder, model),
    }


def _known(model: str, md5: str, spec: dict[str, Any], made: dict[str, Any], deps: dict[str, str]) -> dict[str, Any]:
    """What its section and its provenance say, and what of it is otherwise here; `deps`: hashes of what it read."""
    unread = {RESOLVED_PARTS}
    unread |= set() if "start" in made else {warm_start.FOLDER}  # a note that there is none
    unread |= set() if "teacher" in spec else {teachers.FOLDER}
    data = {dep: of_data for dep, of_data in deps.items() if not unread & set(Path(dep).parents)}
    return {
        "model": model,
        "hash": md5,
        "data": data,
        "same_data": not made or made.get("data") == data,
        "parameters": spec,
        "seed": spec.get("seed"),
        "python": made.get("python"),
        "packages": made.get("packages", {}),
        "machine": made.get("machine", {}),
        "here": machine.packages(made),
    }


def at(found: Revision, model: str, folder: Path, spec: dict[str, Any], made: dict[str, Any] | None) -> dict[str, Any]:
    """All that is known of a model that was loaded from a revision, into `folder`; the keys of `of`, without a run.

    `made`: its provenance, where that is not in its folder. `loaded`: the repository (None: the project here), the
    revision as it was named, and the commit that it meant.
    """
    path = found.asked.path
    stage = f"{'train' if path.startswith('models/') else 'export'}@{PurePosixPath(path).name}"
    made = made or provenance.read(folder)
    deps = {dep["path"]: dep.get("md5", "") for dep in found.stages.get(f"train@{model}", {}).get("deps") or ()}
    md5 = found.outputs.get(path, "")
    return {
        **_known(model, md5, spec, made, deps),
        "commit": recorded_by(found.git, stage, path, md5, found.commit, f"{found.prefix}{lock.LOCK}"),
        "loaded": {"repo": found.asked.repo, "revision": found.asked.rev, "commit": found.commit},
    }


def exported(folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """What an export says of its model, and the commit of the project around it that recorded it, if there is one."""
    path = f"exports/{folder.name}"
    root = folder.absolute().parent.parent
    built = lock.read(root) if (root / lock.LOCK).is_file() else []
    mine = next((one for one in built if path in one.outs), None)
    commit = recorded_by(root, mine.address, path, mine.outs[path]) if mine else None
    return {"model": card["name"], **card["provenance"], "parameters": card["spec"], "commit": commit, "loaded": None}


def recorded_by(
    folder: Path, address: str, path: str, md5: str, head: str = "HEAD", file: str = f"./{lock.LOCK}"
) -> dict[str, str] | None:
    """`hash`, `date`, `subject` of the newest commit whose dvc.lock has the model with this hash and its parent's not.

    None where `head` does not have it, and without git.
    """
    if not md5 or _hash_at(folder, head, address, path, file) != md5:
        return None
    among = f":/{file}" if not file.startswith(".") else file
    log = _git(folder, "log", f"-S{md5}", "--format=%H%x09%cI%x09%s", head, "--", among) or ""
    for line in log.splitlines():
        commit, date, subject = line.split("\t", 2)
        before = _hash_at(folder, f"{commit}^", address, path, file)
        if _hash_at(folder, commit, address, path, file) == md5 != before:
            return {"hash": commit, "date": date, "subject": subject}
    return None


def _hash_at(folder: Path, revision: str, address: str, path: str, file: str) -> str | None:
    text = _git(folder, "show", f"{revision}:{file}")
    stages = (yaml.load(text or "", LOADER) or {}).get("stages") or {}
    outs = stages.get(address, {}).get("outs") or ()
    return next((out.get("md5") for out in outs if out["path"] == path), None)


def _changed(folder: Path) -> list[str]:
    """Files of the project that differ from the last commit: what a commit does not say of this build."""
    listed = _git(folder, "status", "--porcelain", "-z", "--untracked-files=normal", "--", ".") or ""
    return [line[3:] for line in listed.split("\0") if line[2:3] == " "]


def _run(folder: Path, model: str) -> dict[str, Any]:
    """What the training took and when it ended, by the record of it that this machine keeps; empty without one."""
    result = folder / "reports/training" / model / "metrics.json"
    if not result.is_file():
        return {}
    content = result.read_bytes()
    found = run_record.read("train", model, content, folder)
    if found:
        file = run_record.folder(folder) / f"{run_record.key('train', model, content)}.json"
        ended = datetime.fromtimestamp(file.stat().st_mtime).astimezone()
        found["ended"] = ended.isoformat(timespec="seconds")
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError:  # no git here
        return None
    return done.stdout.decode("utf-8", errors="replace") if done.returncode == 0 else None
