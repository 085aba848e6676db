"""The modules that count in a stage instance's fingerprint, with the files beside them, kept by that fingerprint.

To find them, every module is parsed; so what is found, for all instances at once, is kept in .retune under the
fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from retune import atomic_file
from retune.params import STATE
from retune.pipeline import fingerprint
from retune.pipeline.uncounted import UNCOUNTED

FOLDER = STATE / "closures"


def load(folder: Path, stage: str, instance: str, resolved: dict[str, Any]) -> dict[str, str]:
    """File below the folder of the code -> the module that it is or belongs to, for all that an instance may load."""
    try:
        kept = _kept(_counted(stage, instance, resolved), folder)
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        code = fingerprint.Code(folder)
        found = _files(code, _roots(stage, instance, resolved))
        _keep(code, resolved)
    return found


def _kept(counted: str, folder: Path) -> Path:
    """Named by the fingerprint and by the modules that it leaves out, whose imports may change without it."""
    digest = hashlib.sha256()
    for name in UNCOUNTED:
        for file in (folder / f"{name.replace('.', '/')}.py", folder / name.replace(".", "/") / "__init__.py"):
            digest.update(file.read_bytes() if file.is_file() else b"")
    return FOLDER / f"{counted}-{digest.hexdigest()[:16]}.json"


def _counted(stage: str, instance: str, resolved: dict[str, Any]) -> str:
    """The fingerprint of an instance's code; empty where the resolved file has none."""
    found = resolved.get("code", {}).get(stage, "")
    return str(found.get(instance, "") if isinstance(found, dict) else found)


def _keep(code: fingerprint.Code, resolved: dict[str, Any]) -> None:
    """Write the files of each fingerprint that the code has as it stands, not of an edited one; no others stay."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    sections = [(stage, resolved.get(section, {})) for stage, section in fingerprint.STAGES.items()]
    entries = {(stage, name): entry for stage, section in sections for name, entry in section.items()}
    current = {_kept(_counted(*key, resolved), code.folder) for key in (*entries, ("report", ""))}
    for old in set(FOLDER.glob("*.json")) - current:
        old.unlink(missing_ok=True)
    for key in (*entries, ("report", "")):
        if not (counted := _counted(*key, resolved)) or (kept := _kept(counted, code.folder)).exists():
            continue
        roots = _roots(*key, resolved)
        packages = fingerprint.packages(key[0], entries[key]) if key in entries else ()
        if code.fingerprint(roots, packages) == counted:
            with atomic_file.replacing(kept) as part:
                part.write_text(json.dumps(_files(code, roots)), encoding="utf-8")


def _roots(stage: str, instance: str, resolved: dict[str, Any]) -> list[str]:
    if stage == "report":
        return fingerprint.report_roots(resolved)
    section = resolved.get(fingerprint.STAGES.get(stage, ""), {})
    return fingerprint.roots(stage, section[instance]) if instance in section else [f"stages.{stage}"]


def _files(code: fingerprint.Code, roots: list[str]) -> dict[str, str]:
    """What the fingerprint counts; what it leaves out because that can't change a result, with what that imports."""
    present = [root for root in roots if root in code.files]
    left_out = [name for name in UNCOUNTED if name in code.files]
    beyond = [other for name in left_out for other in code.module(name).project if other not in UNCOUNTED]
    modules = {*code.closure(present), *left_out, *code.closure(beyond)}
    return {
        file.relative_to(code.folder).as_posix(): name
        for name in sorted(modules)
        for file in (code.files[name], *code.data_files.get(name, []))
    }
