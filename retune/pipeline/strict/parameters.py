"""The part of params-resolved.json that a stage instance depends on; another key is refused by a sentence.

Beside its own part it sees the seed, the hash of its code, and of its model which task and base are its.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from retune.params import Params
from retune.pipeline.reads import READS, SHOWN_KEYS, path
from retune.pipeline.strict.declared import Declared

Refuse = Callable[[str], None]


class Part(Params):
    """A mapping of which some keys are hidden: asking for one of these is refused."""

    def __init__(self, visible: dict[str, Any], hidden: dict[str, str], refuse: Refuse) -> None:
        super().__init__(visible)
        self.__dict__.update(_hidden=hidden, _refuse=refuse)

    def __missing__(self, key: str) -> Any:
        self._ask(key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        self._ask(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """A visible key's value, else the default."""
        self._ask(key)
        return super().get(key, default)

    def _ask(self, key: object) -> None:
        if isinstance(key, str) and key in self.__dict__["_hidden"]:
            self.__dict__["_refuse"](self.__dict__["_hidden"][key])


def part(resolved: Params, declared: Declared, refuse: Refuse) -> Params:
    """What of the resolved file an instance may see."""
    return _part(resolved, (), [tuple(path.split(".")) for path in _paths(resolved, declared)], declared, refuse)


def _paths(resolved: Params, declared: Declared) -> list[str]:
    """The keys that dvc.yaml names, and those that the instance's file in resolved/ has; `*` is any key."""
    stage, key = declared.stage, declared.instance
    entry = resolved.get("models", {}).get(key, {})
    found = ["seed", f"code.{stage}.{key}", "code.report", f"models.{key}.task", f"models.{key}.base"]
    found += declared.parameters
    if Path(path(stage, key)) in declared.reads:
        found += [READS[stage].format(key=key, task=entry.get("task", key))] if stage in READS else SHOWN_KEYS
    return found


def _part(
    value: Params, at: tuple[str, ...], paths: list[tuple[str, ...]], declared: Declared, refuse: Refuse
) -> Params:
    visible, hidden = {}, {}
    for key, inner in value.items():
        ahead = [path for path in paths if path[len(at)] in (key, "*")]
        if any(len(path) == len(at) + 1 for path in ahead):
            visible[key] = inner
        elif ahead and isinstance(inner, Params):
            visible[key] = _part(inner, (*at, key), ahead, declared, refuse)
        else:
            hidden[key] = (
                f"{declared.name} does not depend on {'.'.join((*at, key))} of params-resolved.json: name that part in "
                f"READS of retune/pipeline/reads.py, or among `params` of `{declared.stage}` in dvc.yaml"
            )
    return Part(visible, hidden, refuse)
