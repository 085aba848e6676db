"""The modules that count in a stage instance's fingerprint, with the files beside them, kept by that fingerprint.

To find them, every module is parsed; so what is found is kept in .retune under the fingerprint, which names it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retune import atomic_file
from retune.params import STATE
from retune.pipeline import fingerprint

FOLDER = STATE / "closures"


def load(code: Path, stage: str, instance: str, resolved: dict[str, Any]) -> dict[str, str]:
    """File below the folder `code` -> the module that it is or belongs to, for all that an instance may load."""
    counted = resolved.get("code", {}).get(stage)
    counted = counted.get(instance) if isinstance(counted, dict) else counted
    kept = FOLDER / f"{counted}.json"
    try:
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = _files(fingerprint.Code(code), _roots(stage, instance, resolved))
        if counted:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file.replacing(kept) as part:
                part.write_text(json.dumps(found), encoding="utf-8")
    return found


def _roots(stage: str, instance: str, resolved: dict[str, Any]) -> list[str]:
    if stage == "report":
        return fingerprint.report_roots(resolved)
    section = resolved.get(fingerprint.STAGES.get(stage, ""), {})
    return fingerprint.roots(stage, section[instance]) if instance in section else [f"stages.{stage}"]


def _files(code: fingerprint.Code, roots: list[str]) -> dict[str, str]:
    """What the fingerprint counts; what it leaves out because that can't change a result, with what that imports."""
    present = [root for root in roots if root in code.files]
    left_out = [name for name in fingerprint.UNCOUNTED if name in code.files]
    beyond = [other for name in left_out for other in code.module(name).project if other not in fingerprint.UNCOUNTED]
    modules = {*code.closure(present), *left_out, *code.closure(beyond)}
    return {
        file.relative_to(code.folder).as_posix(): name
        for name in sorted(modules)
        for file in (code.files[name], *code.data_files.get(name, []))
    }
