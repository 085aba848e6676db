"""Commands before the first build: a task from a file, what this machine can build, schemas for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    out: Annotated[Path, typer.Option(help="the folder to write them to")] = Path(".retune/schema"),
) -> None:
    """Write JSON schemas by which editors complete and check params.yaml, the catalogs and the prompts."""
    from retune.pipeline import json_schema

    for file in json_schema.write(out):
        typer.echo(file)
    typer.echo("\nVS Code with the YAML extension (redhat.vscode-yaml): put this into .vscode/settings.json")
    typer.echo(json_schema.vscode(out))
    typer.echo(
        "\nOther editors with yaml-language-server: a line like this one on top of each file (a comment rebuilds "
        f"nothing)\n# yaml-language-server: $schema={out / json_schema.FILES['params.yaml']}"
    )
