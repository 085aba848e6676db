"""Commands about builds: what would run, running it, proving it."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson


def impact(
    since: Annotated[str, typer.Option(metavar="REV", help="compare with what was built at a revision")] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="as `dvc exp run -S`; may stand several times")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the stages that a build would run now, why, and how long each took last time; nothing is run or written.

    Example: `retune impact -S lora.r=64`
    """
    from retune.pipeline import impact as impacts

    found = impacts.impact(Path(), since, overrides or [])
    printing.put(impacts.records(found), lambda: impacts.table(found), as_json)


def repro(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="tasks to build; default: everything", autocompletion=completion.tasks),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="stages at a time; each gets its share of the cores or GPUs")] = 2,
    pull: Annotated[
        bool, typer.Option("--pull", help="first take from the remote what others built of the same inputs")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("-S", "--set-param", help="written into params.yaml first; as `dvc exp run -S` does"),
    ] = None,
) -> None:
    """`dvc repro`, several stages at a time: for a first build, or one on several GPUs.

    Example: `retune repro intent --jobs 4 --pull`
    """
    from retune.pipeline import parallel_repro

    parallel_repro.repro(tasks or [], jobs, pull, overrides or [])


def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="built models; default: every stage that computes", autocompletion=completion.own_models),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the copy, to look into it")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild models in a copy of the project, and compare every output's bytes with those that dvc.lock tells.

    Without a model: the data, the models, the comparisons, the report. Exit code 1: something differs.

    Example: `retune verify intent_encoder`
    """
    from tqdm import tqdm

    from retune.verify import rebuild, words

    found = rebuild.verify(Path(), models or [], keep, functools.partial(tqdm.write, file=sys.stderr))
    said = {"same": found.same, "outputs": list(found.outputs), "machine": found.machine}
    printing.put(said, lambda: words.verified(found), as_json)
    if found.copy:
        typer.echo(f"the copy: {found.copy}", err=True)
    raise typer.Exit(0 if found.same else 1)


def provenance(
    model: Annotated[str, typer.Argument(help="a built model", autocompletion=completion.own_models)],
    as_json: AsJson = False,
) -> None:
    """Say where a model comes from: commit, data, parameters, seed, packages, machine, and what here differs.

    Example: `retune provenance intent_encoder`
    """
    from retune.verify import origin, words

    found = origin.of(Path(), model)
    printing.put(found, lambda: words.origin(found), as_json)
