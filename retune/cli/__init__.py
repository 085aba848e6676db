"""The command line: `retune --help` lists the commands, docs/command-line.md says what they have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from retune.cli import (
    answering,
    asking,
    building,
    declarations,
    judging,
    reviewing,
    running,
    serving,
    sharing,
    starting,
    sweeping,
    version,
    web,
)

PANELS = {
    "Declare": (
        starting.add_task,
        starting.doctor,
        starting.schema,
        declarations.check,
        declarations.show,
        declarations.keys,
        declarations.pin,
    ),
    "Build": (
        building.impact,
        building.repro,
        sweeping.sweep,
    ),
    "Judge": (
        reviewing.doubts,
        judging.checkpoints,
        judging.curve,
        judging.gate,
        building.verify,
        building.provenance,
    ),
    "Share": (
        sharing.pull,
        sharing.push,
        sharing.publish,
        sharing.rows,
    ),
    "Ask": (
        asking.chat,
        asking.ask,
        answering.predict,
        answering.align,
        answering.score,
        answering.rank,
    ),
    "Serve": (serving.serve, web.web),
}
"""Heading of `retune --help` -> its commands; a command is one line here."""

commands = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Declare, build, judge, share, ask and serve models of text. Builds are `dvc repro`'s; these help around it.",
    epilog="`retune COMMAND --help` has an example of each. `retune keys` lists every key of params.yaml.",
)


@commands.callback()
def retune(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=version.show, help="Print versions and the project's commit."
        ),
    ] = False,
) -> None:
    """What all commands share; its help is that of `commands`."""


for panel, functions in PANELS.items():
    for function in functions:
        commands.command(rich_help_panel=panel)(function)

commands.command(hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(
    sharing.export
)


def app() -> None:
    """Run the command line, and end with one of the exit codes of docs/command-line.md."""
    running.run(commands)
