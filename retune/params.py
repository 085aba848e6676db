"""The resolved parameters as stages see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retune.errors import RetuneError

RESOLVED = Path("params-resolved.json")

RESOLVED_PARTS = Path("resolved")
"""What each stage instance depends on of `RESOLVED`, and its code: `STAGE/INSTANCE.json`, and `report.json`."""

STATE = Path(".retune")
"""Locks, logs, caches and unfinished work; local to a checkout, never an input or output of a stage."""

EXPERIMENTS = (".dvc", "tmp", "exps")
"""Where DVC makes the folders of `dvc exp run --temp` and of queued experiments."""


def project_state(root: Path = Path()) -> Path:
    """`STATE` of a project; that of an experiment's folder, which goes with it, is the one of the project around it."""
    folder = root.resolve()
    for place in range(len(folder.parts) - len(EXPERIMENTS)):
        if folder.parts[place : place + len(EXPERIMENTS)] == EXPERIMENTS:
            return Path(*folder.parts[:place]) / STATE
    return root / STATE


class Params(dict[str, Any]):
    """A dict whose keys are also attributes, at every level: `spec.training.epochs` is `spec["training"]["epochs"]`."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"no key `{key}`; there are: {', '.join(map(str, self))}") from None


def loads(text: str) -> Params:
    """Parse a JSON object into `Params`."""
    return json.loads(text, object_hook=Params)


def load(path: Path = RESOLVED) -> Params:
    """Read the resolved file; it is validated by `resolve`, so nothing is checked here.

    Raises `RetuneError` where it is absent or not JSON.
    """
    try:
        return loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetuneError(f"{path} is missing: run `dvc repro resolve` in the project's folder first") from None
    except json.JSONDecodeError as error:
        raise RetuneError(f"{path}:{error.lineno} is not JSON ({error.msg}): run `dvc repro resolve`") from None
