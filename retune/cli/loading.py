"""The model that a command is told, and the texts that it is given by a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retune.cli import completion
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.inference import Model

HELP = "a built model, a folder exports/NAME, or one of a revision: REV:models/NAME, REPO@REV:models/NAME"
Named = Annotated[str, typer.Argument(metavar="MODEL", help=HELP, autocompletion=completion.models)]
"""The argument of every command that asks a model."""

COMMANDS = {"pair": "align", "scoring": "score", "ranking": "rank"}
"""Kind of task -> the command that answers once; `ask` answers all."""

PARAMS = "params.yaml"

TABLES = (".csv", ".tsv", ".json", ".parquet", ".xlsx")


def place(name: str) -> str | Path:
    """What `retune.load` takes, for a word of the command line: a model of this project may be named alone.

    Raises `RetuneError` for a name where there is no project.
    """
    if "/" in name or ":" in name or (Path(name) / "export.json").is_file():
        return name
    if not Path(PARAMS).is_file() and not Path("models").is_dir():
        raise RetuneError(
            f"there is no {PARAMS} here, so `{name}` is no model: run the command in the folder of a project, or give "
            "the model's path"
        )
    return Path("models") / name


def load(name: str) -> Model:
    """The model that a word of the command line names."""
    from retune import inference

    return inference.load(place(name))


def load_for(command: str, name: str) -> Model:
    """The model, for a command that is of one kind. Raises `RetuneError` that names the right command."""
    model = load(name)
    (kind,) = (kind for kind, known in COMMANDS.items() if known == command)
    if model.spec.kind != kind:
        right = COMMANDS.get(model.spec.kind, "ask")
        raise RetuneError(
            f"`retune {command}` is for kind {kind}, and {model.name} is of kind {model.spec.kind}: "
            f"`retune {right} {name}`"
        )
    return model


def text(path: Path) -> str:
    """The text of a file. Raises `RetuneError` where it can't be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RetuneError(f"{path} is not UTF-8 (byte {error.start}): save it so") from None
    except OSError as error:
        raise RetuneError(f"{path} can't be read: {error.strerror}") from None


def text_or_file(given: str) -> str:
    """An argument that is a text, or names a file that holds one; a long text is no path."""
    try:
        return text(Path(given)) if Path(given).is_file() else given
    except OSError:
        return given


def documents(path: Path) -> list[str]:
    """The lines of a file, but for empty ones: a document each. Raises `RetuneError` for a table."""
    if path.suffix.lower() in TABLES:
        raise RetuneError(
            f"{path} is a table, and this takes a document a line: `retune predict MODEL {path}` reads it"
        )
    found = [line for line in text(path).splitlines() if line.strip()]
    if not found:
        raise RetuneError(f"{path} holds no document")
    return found


def listed(names: str) -> list[str]:
    """`A,B` as a list."""
    return [name.strip() for name in names.split(",") if name.strip()]
