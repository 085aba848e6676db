"""Pin a hub entry of a catalog: replace its branch by the commit that the branch means today."""

from __future__ import annotations

import re
from pathlib import Path

from retune import yaml_edit
from retune.errors import RetuneError
from retune.params import Params

COMMIT = re.compile("[0-9a-f]{40}")
CATALOGS = (Path("data/catalog.yaml"), Path("models/catalog.yaml"))


def pin(name: str, catalog: Path | None = None) -> str:
    """Write the commit of a hub entry into its catalog, and return a sentence with the old and the new revision.

    Only the revision's text changes: comments and order stay. Without `catalog` both are searched. Raises `RetuneError`
    for an unknown entry, and for one that is not on a hub.
    """
    import yaml

    path = catalog or _catalog_of(name)
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if name not in entries:
        raise RetuneError(f"{path} has no entry `{name}`; there are: {', '.join(entries)}")
    entry = Params(entries[name])
    old, new = str(entry.get("revision") or "none"), commit(name, entry)
    if old == new:
        return f"{path}: {name} is pinned already, revision {new}"
    yaml_edit.set_value(path, (name, "revision"), new, after="repo")
    return f"{path}: {name}, revision {old} -> {new}"


def _catalog_of(name: str) -> Path:
    import yaml

    holding = [path for path in CATALOGS if name in (yaml.safe_load(path.read_text(encoding="utf-8")) or {})]
    if len(holding) != 1:
        where = "both catalogs have" if holding else "neither catalog has"
        raise RetuneError(f"{where} an entry `{name}`: {' and '.join(map(str, CATALOGS))} name what can be pinned")
    return holding[0]


def commit(name: str, entry: Params) -> str:
    """Ask the entry's hub for the commit that its revision means today."""
    if entry.kind not in {"huggingface", "modelscope"}:
        raise RetuneError(
            f"`{name}` is of kind `{entry.kind}`; only huggingface and modelscope entries have a revision to pin"
        )
    data = "tables" in entry
    if entry.kind == "huggingface":
        from retune.sources import huggingface

        found = huggingface.commit(entry, data=data)
    else:
        from retune.sources import modelscope

        found = modelscope.commit(entry, data=data)
    if not COMMIT.fullmatch(found):
        raise RetuneError(
            f"the hub gave `{found}` as the commit of {entry.repo}, which is not a full hash; try again later"
        )
    return found
