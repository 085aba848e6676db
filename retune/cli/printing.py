"""What commands print: words for people, JSON for programs, and nothing that a terminal would execute.

With `--json` a command prints one document (or a line for each record) on standard output; all else goes to standard
error, and an error is `{"error": ..., "exit_code": ...}`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[
    bool, typer.Option("--json", help="for programs: JSON, of errors too; messages go to standard error")
]
"""The option of every command that prints something."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys (ESC and its kin, changes of direction) or can't write; not line feed and tab."""


def asked(arguments: Sequence[str]) -> bool:
    """Whether the words of a command line ask for JSON, known before they are understood."""
    words = list(arguments)
    return "--json" in words[: words.index("--") if "--" in words else None]


def visible(text: str) -> str:
    r"""A text of a model, a file or a user for a terminal: ESC is shown as `\x1b`, and so on."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def line(found: Any, indent: int | None = None) -> str:
    """A value as JSON in one line: null for a number that is none, dataclasses and paths as what they hold."""
    text = json.dumps(_plain(found), ensure_ascii=False, indent=indent)
    return CONTROL.sub(lambda one: f"\\u{ord(one[0]):04x}", text)


def document(found: Any) -> str:
    """The same, readable."""
    return line(found, indent=2)


def put(found: Any, words: str | Callable[[], str], as_json: bool, nl: bool = True) -> None:
    """Print what a command found, as JSON or in words."""
    if as_json:
        typer.echo(document(found))
    else:
        typer.echo(words if isinstance(words, str) else words(), nl=nl)


def say(as_json: bool) -> Callable[[str], None]:
    """Prints a message, where it does not disturb a document."""
    return lambda message: typer.echo(message, err=as_json)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, set | frozenset):
        return [_plain(one) for one in sorted(value)]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
