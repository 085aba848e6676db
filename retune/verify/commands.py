"""The commands `retune verify` and `retune provenance`."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def verify(
    models: Annotated[list[str] | None, typer.Argument(help="built models; default: every stage that computes")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the copy, to look into it")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Rebuild models in a copy of the project, and compare every output's bytes with those that dvc.lock tells.

    Without a model: the data, the models, the comparisons, the report. Exit code 1: something differs.
    """
    from tqdm import tqdm

    from retune.verify import rebuild, words

    found = rebuild.verify(Path(), models or [], keep, functools.partial(tqdm.write, file=sys.stderr))
    if as_json:
        outputs = [dataclasses.asdict(one) for one in found.outputs]
        said = {"same": found.same, "outputs": outputs, "machine": found.machine}
        typer.echo(json.dumps(said, ensure_ascii=False, indent=2))
    else:
        typer.echo(words.verified(found))
    if found.copy:
        typer.echo(f"the copy: {found.copy}", err=True)
    raise typer.Exit(0 if found.same else 1)


def provenance(
    model: Annotated[str, typer.Argument(help="a built model")],
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Say where a model comes from: commit, data, parameters, seed, packages, machine, and what here differs."""
    from retune.verify import origin, words

    found = origin.of(Path(), model)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else words.origin(found))
