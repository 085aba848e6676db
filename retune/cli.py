"""The command line: `retune keys`, `check`, `show`, `pin`. Building is DVC's: `dvc repro`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from retune.errors import RetuneError

commands = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Helpers around `dvc repro`."
)


def app() -> None:
    """Run the command line; an error that the user can mend is one message and exit code 1."""
    try:
        commands()
    except RetuneError as error:
        sys.exit(f"retune: {error}")


@commands.command()
def keys(word: Annotated[str, typer.Argument(help="show only keys that contain this")] = "") -> None:
    """List every key of params.yaml, the catalogs and the prompts: values, limits, default, meaning."""
    from retune.keys import all_keys, table

    rows = [key for key in all_keys() if word in key.path]
    if not rows:
        raise RetuneError(f"no key contains `{word}`; `retune keys` lists all")
    typer.echo(table(rows))


@commands.command()
def check() -> None:
    """Validate params.yaml, the catalogs and the prompts without building; print the warnings."""
    from retune.params import RESOLVED
    from retune.resolve import dumps, resolve

    resolution = resolve(Path())
    for warning in resolution.warnings:
        typer.echo(f"warning: {warning}")
    now = RESOLVED.read_text(encoding="utf-8") if RESOLVED.is_file() else None
    state = "is up to date" if now == dumps(resolution.resolved) else "is out of date: `dvc repro` brings it up to date"
    counts = ", ".join(f"{len(resolution.resolved[part])} {part}" for part in ("tasks", "models", "bases"))
    typer.echo(f"valid: {counts}; {RESOLVED} {state}")


@commands.command()
def show(name: Annotated[str, typer.Argument(help="a model, a task or a role under `bases`")]) -> None:
    """Print what a model, a task or a base really gets, defaults included."""
    from retune.resolve import resolve
    from retune.validation import unknown

    resolved = resolve(Path()).resolved
    parts = ("models", "tasks", "bases")
    found = {part: {name: resolved[part][name]} for part in parts if name in resolved[part]}
    if not found:
        raise RetuneError(unknown("model, task or base", name, [known for part in parts for known in resolved[part]]))
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


@commands.command()
def pin(name: Annotated[str, typer.Argument(help="an entry of data/catalog.yaml or models/catalog.yaml")]) -> None:
    """Write the commit that a hub revision means today into the catalog."""
    from retune.sources.pin import pin as pin_entry

    typer.echo(pin_entry(name))


if __name__ == "__main__":
    app()
