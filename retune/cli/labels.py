"""`labels: auto` of params.yaml: the labels that the data of a task has, written in its place."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from retune import yaml_edit
from retune.errors import RetuneError


def write(root: Path) -> list[str]:
    """Replace each `labels: auto` by the sorted labels of the task's data; a sentence for each task.

    The data is fetched as the build would, into a folder that goes again. Raises `RetuneError` where it has too few
    labels or too many, and where the entry of its source is not valid.
    """
    from retune.pipeline.declarations import PARAMS
    from retune.pipeline.schema.params import AUTO
    from retune.pipeline.yaml_file import read

    tasks = (read(root, PARAMS).data or {}).get("tasks")
    said = []
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        if isinstance(task, dict) and task.get("labels") == AUTO:
            found = _labels(root, name, task)
            yaml_edit.set_value(root / PARAMS, ("tasks", name, "labels"), found)
            said.append(f"{PARAMS}: tasks.{name}.labels, {len(found)} labels: {', '.join(found[:10])}")
    return said


def _labels(root: Path, name: str, task: dict[str, Any]) -> list[str]:
    from pydantic import ValidationError

    from retune.data.convert import found_labels
    from retune.params import Params
    from retune.pipeline.checks.project import FEWEST, MOST
    from retune.pipeline.declarations import DATA
    from retune.pipeline.schema.catalog import Source
    from retune.pipeline.yaml_file import read
    from retune.sources import fetch

    if task.get("kind") != "classification":
        raise RetuneError(f"tasks.{name}: only a classification has labels; take `labels: auto` out")
    try:
        source = Source.model_validate((read(root, DATA).data or {}).get(task.get("source")))
    except ValidationError:
        raise RetuneError(f"tasks.{name}: its source `{task.get('source')}` in {DATA} is not valid: mend it") from None
    entry = source.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    tables = entry.pop("tables")
    with tempfile.TemporaryDirectory() as folder:
        raw, scratch = Path(folder) / "raw", Path(folder) / "scratch"
        raw.mkdir()
        fetch.bring(Params({"name": task["source"], "seed": 0, **entry}), raw, logging.getLogger("retune"), data=True)
        found = found_labels.labels(tables, raw, scratch)
    if not FEWEST <= len(found) <= MOST:
        raise RetuneError(
            f"tasks.{name}: the data of `{task['source']}` has {len(found):,} labels, but {FEWEST} to {MOST} are "
            "possible: correct `columns.label`, or merge rare ones by its `map`"
        )
    return found
