"""Commands about what is declared: params.yaml, the catalogs, the prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from retune.errors import RetuneError, unknown


def keys(word: Annotated[str, typer.Argument(help="show only keys that contain this")] = "") -> None:
    """List every key of params.yaml, the catalogs and the prompts: values, limits, default, meaning."""
    from retune.pipeline.declarations import PARAMS
    from retune.pipeline.keys import all_keys, table
    from retune.pipeline.yaml_file import read

    here = read(Path(), PARAMS) if Path(PARAMS).is_file() else None
    rows = [key for key in all_keys(here) if word in key.path]
    if not rows:
        raise RetuneError(f"no key contains `{word}`; `retune keys` lists all")
    typer.echo(table(rows))


def check() -> None:
    """Validate params.yaml, the catalogs, the prompts and dvc.yaml without building; print the warnings."""
    from retune.params import RESOLVED, loads
    from retune.pipeline.checks import artifacts, place, stages
    from retune.pipeline.reads import dumps
    from retune.pipeline.resolve import resolve

    resolution = resolve(Path())
    if "gate" in resolution.resolved:  # the names of metrics are not known to `resolve`
        from retune.report.gate import tolerances

        tolerances(loads(dumps(resolution.resolved)))
    of_pipeline = (check.warnings(Path(), resolution.resolved) for check in (stages, artifacts, place))
    for warning in (*resolution.warnings, *(one for found in of_pipeline for one in found)):
        typer.echo(f"warning: {warning}")
    now = RESOLVED.read_text(encoding="utf-8") if RESOLVED.is_file() else None
    state = "is up to date" if now == dumps(resolution.resolved) else "is out of date: `dvc repro` brings it up to date"
    counts = ", ".join(f"{len(resolution.resolved[part])} {part}" for part in ("tasks", "models", "bases"))
    typer.echo(f"valid: {counts}; {RESOLVED} {state}")


def show(name: Annotated[str, typer.Argument(help="a model, a task or a role under `bases`")]) -> None:
    """Print what a model, a task or a base really gets, defaults included."""
    from retune.pipeline.resolve import resolve

    resolved = resolve(Path()).resolved
    parts = ("models", "tasks", "bases")
    found = {part: {name: resolved[part][name]} for part in parts if name in resolved[part]}
    if not found:
        raise RetuneError(unknown("model, task or base", name, [known for part in parts for known in resolved[part]]))
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


def pin(name: Annotated[str, typer.Argument(help="an entry of data/catalog.yaml or models/catalog.yaml")]) -> None:
    """Write the commit that a hub revision means today into the catalog."""
    from retune.sources.pin import pin as pin_entry

    typer.echo(pin_entry(name))
