"""The loop of `retune chat`: lines are read, questions asked, and `/` commands obeyed."""

from __future__ import annotations

import contextlib
import glob
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import typer

from retune.cli import loading, printing, questions
from retune.cli.session import COMMANDS, Quit, Session
from retune.errors import RetuneError
from retune.inference import Model

FILES = ("/file ", "/save ")
"""Commands behind which a tab completes the name of a file."""


def chat(model: Model) -> None:
    """Ask the model until the input ends or the user quits."""
    terminal = sys.stdin.isatty()
    if terminal and (found := _readline()):
        _complete(found)
    session = Session(model)
    labels = f", {len(model.spec.labels)} labels" if model.spec.kind in ("classification", "pair") else ""
    typer.echo(f"{model.name}: {model.spec.kind}{labels}, learner {model.spec.learner}. /help lists commands.")
    while True:
        try:
            question = questions.read(model, _reads(session, terminal))
            if question is not None:
                _say(session.ask(question))
        except (EOFError, Quit):
            return
        except KeyboardInterrupt:  # what is typed, or an answer that takes long
            if not terminal:
                raise
            typer.echo("\ncancelled; Ctrl-D ends")
        except RetuneError as error:
            _say(str(error))


def _reads(session: Session, terminal: bool) -> Callable[[str, bool], list[str]]:
    """Reads the texts for a field: a line and its continuations, or a file; commands are obeyed meanwhile."""

    def reads(name: str, several: bool) -> list[str]:
        while True:
            try:
                line = _line(f"{name}> " if terminal else "", terminal)
            except EOFError:
                if terminal:  # what is printed next begins a line
                    typer.echo()
                raise
            command, _, argument = line.strip().partition(" ")
            if line.startswith("//"):
                return [line[1:]]
            if not line.startswith("/"):
                return [line]
            try:
                if command != "/file":
                    _say(session.obey(line))
                    continue
                if not argument:
                    raise RetuneError("/file PATH: give the file that holds the text")
                path = Path(argument.strip()).expanduser()
                found = loading.documents(path) if several else [loading.text(path)]
                said = f"{len(found)} documents; an empty line ranks them" if several else f"{len(found[0])} characters"
                _say(f"{path}: {said}")
                return found
            except RetuneError as error:
                _say(str(error))

    return reads


def _say(text: str) -> None:
    """Print what a session says, which may quote a model, a file or the user."""
    typer.echo(printing.visible(text))


def _line(prompt: str, terminal: bool) -> str:
    """A line, and the next ones where it ends in a backslash."""
    line = input(prompt)
    while line.endswith("\\"):
        line = f"{line[:-1]}\n{input('... ' if terminal else '')}"
    return line


def _readline() -> ModuleType | None:
    """Python's line editing, which some platforms lack; with it `input` edits and remembers lines."""
    with contextlib.suppress(ImportError):
        import readline

        return readline
    return None


def _complete(readline: ModuleType) -> None:
    """A tab completes commands, and files behind /file and /save. Nothing typed is written to a file."""

    def complete(text: str, state: int) -> str | None:
        whole = readline.get_line_buffer()
        if whole.startswith(FILES):
            names = sorted(glob.glob(f"{glob.escape(text)}*"))
        else:
            names = [
                f"/{name} " for name in (*COMMANDS, "file") if whole == text and f"/{name}".startswith(text or "-")
            ]
        return names[state] if state < len(names) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
