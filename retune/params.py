"""The resolved parameters as stages see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retune.errors import RetuneError

RESOLVED = Path("params-resolved.json")

STATE = Path(".retune")
"""Locks, logs, caches and unfinished work; local to a checkout, never an input or output of a stage."""


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
