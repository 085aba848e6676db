"""Folders of exports by their files alone: what is published, without a model in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retune.exports import hashes

CARD = {
    "format": 1,
    "name": "intent_encoder",
    "licence": {
        "hub": "mit",
        "base": {"name": "e5-small", "license": "MIT"},
        "data": {"name": "calls", "license": "CC-BY-4.0"},
    },
}
PARITY = {
    "loader": "transformers 5.23.0",
    "rows": 128,
    "cut": 0,
    "largest_difference": 3e-6,
    "mean_difference": 1e-7,
    "equal_decisions": 1.0,
    "tolerance": 1e-4,
}
README = "---\nlicense: mit\n---\n# intent\n"


def write(folder: Path, files: dict[str, bytes], **parity: Any) -> Path:
    """An export as the stage leaves it."""
    for name, data in {"export.json": json.dumps(CARD).encode(), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "parity.json").write_text(json.dumps({**PARITY, "files": hashes.of(folder), **parity}))
    (folder / "README.md").write_text(README)
    return folder
