"""How a command ends: its exit code, and an error in one message, as JSON where that was asked for.

0: done; 1: an error that the user can mend, or what was judged is worse; 2: wrong usage, or `gate` can't tell; 130:
interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

import typer
from typer.exceptions import TyperException

from retune.cli import printing
from retune.errors import RetuneError

FINE, MENDABLE, USAGE, INTERRUPTED = 0, 1, 2, 130


class CannotTell(RetuneError):
    """A judgement that can't be made, which is neither good nor bad news."""

    exit_code = USAGE


class _Visible(logging.Formatter):
    """A warning may quote a user's file."""

    def format(self, record: logging.LogRecord) -> str:
        return printing.visible(super().format(record))


def run(commands: typer.Typer) -> None:
    """Run the command of `sys.argv` and exit."""
    as_json = printing.asked(sys.argv[1:])
    if logging.lastResort:
        logging.lastResort.setFormatter(_Visible())
    try:
        code = commands(prog_name="retune", standalone_mode=False) or FINE
        sys.stdout.flush()
    except RetuneError as error:
        code = getattr(error, "exit_code", MENDABLE)
        _tell(str(error), code, as_json)
    except OSError as error:
        code = _os_error(error, as_json)
    except typer.Abort:  # the end of what is typed, where something was asked
        code = MENDABLE
    except KeyboardInterrupt:  # while the command was looked for: Typer takes that of the command itself
        code = INTERRUPTED
    except TyperException as error:
        code = _usage(error, as_json)
    sys.exit(code)


def _tell(message: str, code: int, as_json: bool) -> None:
    if as_json:
        typer.echo(printing.line({"error": message, "exit_code": code}))
    typer.echo(f"retune: {printing.visible(message)}", err=True)


def _os_error(error: OSError, as_json: bool) -> int:
    """A reader that went away is no error; a full disk and a file that can't be had are told in a sentence."""
    from retune.pipeline import disk_error

    if isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):  # so that the interpreter finds nothing to flush when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return MENDABLE
    said = disk_error.sentence(error)
    if not said and error.filename is None:
        raise error
    _tell(said or str(error), MENDABLE, as_json)
    return MENDABLE


def _usage(error: TyperException, as_json: bool) -> int:
    """What Typer says of wrong words."""
    from typer import rich_utils

    if as_json:
        typer.echo(printing.line({"error": error.format_message(), "exit_code": error.exit_code}))
    shown: Any = error  # the function's own type for it is a private one
    rich_utils.rich_format_error(shown)
    return error.exit_code
