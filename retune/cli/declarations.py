"""Commands about what is declared: params.yaml, the catalogs, the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson
from retune.errors import RetuneError, unknown


def keys(
    word: Annotated[str, typer.Argument(help="show only keys that contain this")] = "",
    as_json: AsJson = False,
) -> None:
    """List every key of params.yaml, the catalogs and the prompts: values, limits, default, meaning.

    Example: `retune keys lora.`
    """
    from retune.pipeline.declarations import PARAMS
    from retune.pipeline.keys import all_keys, table
    from retune.pipeline.yaml_file import read

    here = read(Path(), PARAMS) if Path(PARAMS).is_file() else None
    rows = [key for key in all_keys(here) if word in key.path]
    if not rows:
        raise RetuneError(f"no key contains `{word}`; `retune keys` lists all")
    printing.put(rows, lambda: table(rows), as_json)


def check(
    write: Annotated[bool, typer.Option("--write", help="write the labels of the data for `labels: auto`")] = False,
    as_json: AsJson = False,
) -> None:
    """Validate params.yaml, the catalogs, the prompts and dvc.yaml without building; print the warnings.

    Example: `retune check`
    """
    from retune.cli import labels
    from retune.params import RESOLVED, loads
    from retune.pipeline.checks import artifacts, place, stages
    from retune.pipeline.reads import dumps
    from retune.pipeline.resolve import resolve

    written = labels.write(Path()) if write else []
    resolution = resolve(Path())
    if "gate" in resolution.resolved:  # the names of metrics are not known to `resolve`
        from retune.report.gate import tolerances

        tolerances(loads(dumps(resolution.resolved)))
    of_pipeline = (check.warnings(Path(), resolution.resolved) for check in (stages, artifacts, place))
    warnings = [*resolution.warnings, *(one for found in of_pipeline for one in found)]
    now = RESOLVED.read_text(encoding="utf-8") if RESOLVED.is_file() else None
    current = now == dumps(resolution.resolved)
    state = "is up to date" if current else "is out of date: `dvc repro` brings it up to date"
    counts = {part: len(resolution.resolved[part]) for part in ("tasks", "models", "bases")}
    shown = ", ".join(f"{count} {part}" for part, count in counts.items())
    lines = [*written, *(f"warning: {warning}" for warning in warnings), f"valid: {shown}; {RESOLVED} {state}"]
    said = {"written": written} if write else {}
    found = {"valid": True, **said, "warnings": warnings, **counts, "up_to_date": current}
    printing.put(found, "\n".join(lines), as_json)


def show(
    name: Annotated[
        str, typer.Argument(help="a model, a task or a role under `bases`", autocompletion=completion.declared)
    ],
    as_json: AsJson = False,
) -> None:
    """Print what a model, a task or a base really gets, defaults included; always as JSON.

    Example: `retune show intent_encoder`
    """
    from retune.pipeline.resolve import resolve

    resolved = resolve(Path()).resolved
    parts = ("models", "tasks", "bases")
    found = {part: {name: resolved[part][name]} for part in parts if name in resolved[part]}
    if not found:
        raise RetuneError(unknown("model, task or base", name, [known for part in parts for known in resolved[part]]))
    typer.echo(printing.document(found))


def pin(
    name: Annotated[str, typer.Argument(help="an entry of data/catalog.yaml or models/catalog.yaml")],
    as_json: AsJson = False,
) -> None:
    """Write the commit that a hub revision means today into the catalog.

    Example: `retune pin qwen3-0.6b`
    """
    from retune.sources.pin import pin as pin_entry

    said = pin_entry(name)
    printing.put({"message": said}, said, as_json)
