"""The command line around `dvc repro`: `retune --help` lists the commands."""

from __future__ import annotations

import sys

import typer

from retune.cli import answering, building, declarations, judging, serving, web
from retune.errors import RetuneError

commands = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Helpers around `dvc repro`."
)

for command in (
    declarations.keys,
    declarations.check,
    declarations.show,
    declarations.pin,
    building.impact,
    building.repro,
    building.pull,
    building.push,
    building.publish,
    building.verify,
    building.provenance,
    judging.checkpoints,
    judging.curve,
    judging.gate,
    answering.predict,
    answering.score,
    answering.align,
    answering.ask,
    answering.rows,
    serving.serve,
    web.web,
):
    commands.command()(command)


commands.command(hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(
    answering.export
)


def app() -> None:
    """Run the command line; an error that the user can mend is one message and exit code 1."""
    try:
        commands()
    except RetuneError as error:
        sys.exit(f"retune: {error}")
