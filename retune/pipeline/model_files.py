"""The files that a model predicts with, as they lie in a project or came from a revision: what `retune pull` gets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import retune
from retune import params
from retune.errors import RetuneError, unknown
from retune.params import Params
from retune.pipeline import fingerprint, revision
from retune.pipeline.revision import Revision
from retune.pipeline.shared_outputs import NEED_BASE

BASES = "models/bases"


@dataclass(frozen=True)
class ModelFiles:
    """Its section as resolved, its folder, its base's (which only some learners need), calibration, how it writes."""

    spec: Params
    folder: Path
    base: Path
    fitted: dict[str, Any]
    generation: Params | None


def here(folder: Path) -> ModelFiles:
    """Those of a folder models/NAME. Raises `RetuneError` where it is not built, or something is not here."""
    root, name = folder.absolute().parent.parent, folder.name
    file = folder / "spec.json"
    if not file.is_file():
        raise _absent(root, name)
    spec = params.load(file)
    fitted = root / f"data/calibrations/{spec.task}/{name}.json"
    if not fitted.is_file():
        raise RetuneError(
            f"{fitted.relative_to(root)} is missing: `retune pull {name}` gets it, or `dvc repro {_stage(spec)}@{name}`"
        )
    base = root / BASES / spec.base
    if spec.learner in NEED_BASE and not base.is_dir():
        repro = f"dvc repro download_base@{spec.base}"
        raise RetuneError(f"{base.relative_to(root)} is missing: `retune pull {name}` gets it, or `{repro}`")
    resolved = root / params.RESOLVED
    text = resolved.read_text(encoding="utf-8") if resolved.is_file() else None
    return ModelFiles(spec, folder, base, json.loads(fitted.read_text(encoding="utf-8")), _generation(text, name))


def at(found: Revision) -> ModelFiles:
    """Those of models/NAME of a revision, brought into the cache. Raises `RetuneError` where one can't be had."""
    path, name = found.asked.path, PurePosixPath(found.asked.path).name
    if f"ensemble@{name}" in found.stages:
        raise RetuneError(
            f"{name} of {found} is a mean over seeds, whose members a revision does not bring along: load these, or "
            "check that revision out and load the mean there"
        )
    made = {out["path"] for out in found.stages.get(f"calibrate@{name}", {}).get("outs") or ()}
    fitted = next((one for one in made if PurePosixPath(one).name == f"{name}.json"), None)
    if path in found.outputs and fitted is None:
        raise RetuneError(f"{name} is not calibrated in {found}: take a commit after `dvc repro calibrate@{name}`")
    places = revision.bring(found, {path: "model"} | ({fitted: "calibration"} if fitted else {}))
    spec = params.load(places[path] / "spec.json")
    base = f"{BASES}/{spec.base}"
    needed = revision.bring(found, {base: "base"}) if spec.learner in NEED_BASE else {}
    calibrated = json.loads(places[str(fitted)].read_text(encoding="utf-8"))
    generation = _generation(found.text(str(params.RESOLVED)), name)
    return ModelFiles(spec, places[path], needed.get(base, places[path]), calibrated, generation)


def otherwise(found: Revision, model: str, spec: Params, said: str | None) -> str | None:
    """The warning about a model of a revision: `said` of its packages and machine, and whether other code predicts.

    Compared are the fingerprints of the stage `predict`. A package without the project's lock file has none.
    """
    code = fingerprint.Code(Path(retune.__file__).parents[1])
    text = found.text(f"{params.RESOLVED_PARTS}/predict/{model}.json")
    if text is not None and (code.folder / fingerprint.LOCK).is_file():
        before = json.loads(text).get("code")
        now = code.fingerprint(fingerprint.roots("predict", spec), fingerprint.packages("predict", spec))
        if before != now:
            head = said or f"{model} was built otherwise than it is used here, so its answers may differ"
            said = f"{head}{', ' if said else ': '}code {before} (here {now})"
    return f"{found}: {said}" if said else None


def _stage(spec: Params) -> str:
    """The stage that calibrates it."""
    return "ensemble" if spec.learner == "ensemble" else "calibrate"


def _generation(resolved: str | None, name: str) -> Params | None:
    """How a model writes, as params-resolved.json says, for those that do."""
    found: Params | None = None
    if resolved is not None:
        found = params.loads(resolved).get("predictions", {}).get(name, {}).get("generation")
    return found


def _absent(root: Path, name: str) -> RetuneError:
    """Why there is no such model: it is declared and not built, or unknown."""
    built = {file.parent.name for file in (root / "models").glob("*/spec.json")}
    resolved = root / params.RESOLVED
    known = params.load(resolved) if resolved.is_file() else {}
    declared, means = set(known.get("models", {})), set(known.get("ensembles", {}))
    if name in declared | means:
        return RetuneError(
            f"the model {name} is not built: run `dvc repro {'ensemble' if name in means else 'calibrate'}@{name}`"
        )
    declared |= means
    return RetuneError(unknown("model", name, sorted(built | declared)))
