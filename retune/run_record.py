"""What a run took: seconds, tokens per second, peak memory. Kept in .retune, outside of what DVC hashes.

Two builds of the same inputs give the same outputs and not the same times, so no output holds a time. A record is found
by the bytes of the file that the run wrote, wherever that file comes from: after an experiment, the record of the same
result is there again. All records stand in `runs.js` as well, which the report's page loads where it lies beside it.
An experiment that DVC runs in a folder of its own keeps its records in the project's.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.params import project_state

SCRIPT = "runs.js"


def key(stage: str, instance: str, result: bytes) -> str:
    """The name of the record of a run that wrote these bytes."""
    return f"{stage}/{instance}/{hashlib.sha256(result).hexdigest()[:16]}"


def write(stage: str, instance: str, result: Path, record: dict[str, Any], root: Path = Path()) -> None:
    """Keep what it took to make the file `result`."""
    kept = folder(root)
    _replace(kept / f"{key(stage, instance, result.read_bytes())}.json", json.dumps(record, indent=2) + "\n")
    found = {
        file.relative_to(kept).with_suffix("").as_posix(): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(kept.glob("*/*/*.json"))
    }
    _replace(kept / SCRIPT, f"window.retuneRuns = JSON.parse({json.dumps(json.dumps(found))});\n")


def read(stage: str, instance: str, result: bytes, root: Path = Path()) -> dict[str, Any]:
    """What it took to make a file of these bytes; empty where no run on this machine did."""
    try:
        text = (folder(root) / f"{key(stage, instance, result)}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found: dict[str, Any] = json.loads(text)
    return found


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def folder(root: Path) -> Path:
    """Where the project keeps its records; an experiment's folder belongs to the project around it."""
    return project_state(root) / "runs"
