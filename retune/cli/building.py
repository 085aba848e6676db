"""Commands about builds: what would run, running it, sharing it, proving it."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def impact(
    since: Annotated[str, typer.Option(metavar="REV", help="compare with what was built at a revision")] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="as `dvc exp run -S`; may stand several times")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """List the stages that a build would run now, why, and how long each took last time; nothing is run or written."""
    from retune.pipeline import impact as impacts

    found = impacts.impact(Path(), since, overrides or [])
    typer.echo(json.dumps(impacts.records(found), ensure_ascii=False, indent=2) if as_json else impacts.table(found))


def repro(
    tasks: Annotated[list[str] | None, typer.Argument(help="tasks to build; default: everything")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="stages at a time; each gets its share of the cores or GPUs")] = 2,
    pull: Annotated[
        bool, typer.Option("--pull", help="first take from the remote what others built of the same inputs")
    ] = False,
) -> None:
    """`dvc repro`, several stages at a time: for a first build, or one on several GPUs."""
    from retune.pipeline import parallel_repro

    parallel_repro.repro(tasks or [], jobs, pull)


def pull(
    names: Annotated[list[str] | None, typer.Argument(help="models and tasks; default: everything")] = None,
    without_bases: Annotated[
        bool, typer.Option("--without-bases", help="leave pretrained checkpoints out, which `dvc repro` fetches itself")
    ] = False,
    remote: Annotated[str | None, typer.Option("--remote", "-r", help="default: the default remote")] = None,
) -> None:
    """Get built outputs from the remote, as this commit's dvc.lock names them; how many bytes is said before.

    A model comes with all that it needs to predict, a task with its data, models and results.
    """
    from retune.pipeline import remote as remotes

    remotes.pull(names or [], without_bases, remote, typer.echo)


def push(
    remote: Annotated[str | None, typer.Option("--remote", "-r", help="default: the default remote")] = None,
) -> None:
    """Send what was built to the remote, so that no other clone has to build it again."""
    from retune.pipeline import remote as remotes

    remotes.push(remote, typer.echo)


def publish(
    name: Annotated[str, typer.Argument(help="a folder of exports/")],
    to: Annotated[str, typer.Option(help="hf:OWNER/NAME or ms:OWNER/NAME")],
    public: Annotated[bool, typer.Option("--public", help="for everybody; default: private")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list files, sizes and where to; send nothing")] = False,
) -> None:
    """Send an export to the Hugging Face hub or ModelScope: private, and only with the proof that it answers alike.

    The token is read from HF_TOKEN or MODELSCOPE_API_TOKEN.
    """
    from retune.exports import publish as publishing

    publishing.publish(name, to, public, dry_run, typer.echo)


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
