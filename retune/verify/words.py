"""What `retune verify` and `retune provenance` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from retune.pipeline.impact import duration
from retune.verify.rebuild import Verified

SHOWN = 8
"""Differences of one output, or changed files, that are listed."""


def verified(found: Verified) -> str:
    """A line for each output, what differs below it, and the sum."""
    widths = [max([len(getattr(one, name)) for one in found.outputs], default=0) for name in ("stage", "path")]
    lines = []
    for one in found.outputs:
        state = "same" if not one.differences else "differs (as its inputs do)" if one.inherited else "DIFFERS"
        files = f"{one.files} file" + ("" if one.files == 1 else "s")
        lines.append(f"{one.stage:<{widths[0]}}  {one.path:<{widths[1]}}  {files:>9}  {state}")
        lines += [f"    {said}" for said in _listed(one.differences)]
    bad = sum(bool(one.differences) for one in found.outputs)
    lines.append(
        f"{len(found.outputs)} outputs: all have the same bytes as in dvc.lock"
        if not bad
        else f"{len(found.outputs)} outputs: {len(found.outputs) - bad} same, {bad} not"
    )
    for model, said in found.machine.items():
        lines.append(f"{model} was built by other means than here: {', '.join(said)}")
    if bad and not found.machine:
        lines.append(
            "no difference of packages, device, dtype or threads is known: docs/reproducibility.md says what else "
            "changes bytes"
        )
    return "\n".join(lines)


def origin(found: dict[str, Any]) -> str:
    """What `retune.verify.origin.of` found, a line for each thing."""
    return "\n".join(f"{name:<11} {said}" for name, said in _origin(found))


def _origin(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    state = {
        "same": "lies here as dvc.lock says",
        "changed": "what lies here is NOT what dvc.lock says: it was changed after the build",
        "absent": "is not checked out here: `dvc checkout`",
    }
    yield "model", f"{found['model']} ({found['hash']}), {state[found['state']]}"
    commit = found["commit"]
    yield (
        "commit",
        (
            f"{commit['hash'][:12]} of {commit['date']}: {commit['subject']}"
            if commit
            else "none has this build: commit dvc.lock"
        ),
    )
    if found["uncommitted"]:
        yield "uncommitted", ", ".join(_listed(found["uncommitted"]))
    for path, md5 in found["data"].items():
        yield "data", f"{path} {md5}"
    if not found["same_data"]:
        yield "", "its folder names other data than dvc.lock"
    yield "seed", str(found["seed"])
    for name, value in found["parameters"].items():
        if name == "seed":
            continue
        yield "parameter", f"{name}: {_value(value)}"
    if not found["packages"]:
        yield "packages", "unknown: an older version of Retune built it"
        return
    yield "packages", f"python {found['python']}, {_value(found['packages'])}"
    yield "machine", _value(found["machine"])
    if found["here"]:
        yield "here", ", ".join(found["here"])
    if run := found["run"]:
        yield "run", f"took {duration(run.get('seconds'))} on this machine, until {run['ended']}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return "null" if value is None else str(value)


def _listed(said: list[str]) -> list[str]:
    return [*said[:SHOWN], *([f"and {len(said) - SHOWN} more"] if len(said) > SHOWN else [])]
