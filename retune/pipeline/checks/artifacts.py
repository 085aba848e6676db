"""What `artifacts` in dvc.yaml register that no build of this params.yaml makes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from retune.pipeline.checks.stages import PIPELINE
from retune.pipeline.declarations import mapping
from retune.pipeline.yaml_file import read

MODELS = PurePosixPath("models")


def warnings(folder: Path, resolved: dict[str, Any]) -> list[str]:
    """One line that names the artifacts below models/ which are no model and no base of params.yaml; else nothing."""
    if not (folder / PIPELINE).is_file():
        return []
    document = read(folder, PIPELINE)
    named = [*resolved["models"], *resolved.get("ensembles", {})]
    made = {MODELS / name for name in named} | {MODELS / "bases" / role for role in resolved["bases"]}
    lost = [
        name
        for name, entry in mapping(mapping(document.data).get("artifacts")).items()
        if MODELS in (path := PurePosixPath(str(mapping(entry).get("path")))).parents and path not in made
    ]
    if not lost:
        return []
    return [
        f"{document.place(('artifacts', lost[0]))}: `artifacts` registers models that params.yaml does not have, so "
        f"nothing builds them: {', '.join(lost)}; take them out, or mend their `path`"
    ]
