"""Commands for a person who asks: `ask` once or line by line, `chat` with a history and commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from retune.cli import loading, printing
from retune.cli.loading import Named
from retune.cli.printing import AsJson
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.cli.questions import Question
    from retune.inference import Model


def ask(
    model: Named,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="texts; kind pair: two, kind ranking: query and documents; default: what is typed"),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="labels shown (of a ranking: documents); default: 3")] = None,
    dimensions: Annotated[str, typer.Option(help="kind scoring: A,B,...; default: all")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask for the texts given, or for each line of standard input: the label, and the likeliest three.

    Line by line a pair is two lines; a ranking is a query, its documents and an empty line. Elsewhere an empty line
    ends. With --json each question has a line.

    Example: `retune ask intent_encoder "帮我查一下话费"`
    """
    from retune import progress
    from retune.cli import questions

    loaded = loading.load(model)
    names = loading.listed(dimensions)

    def put(question: Question) -> None:
        found = questions.answer(loaded, question)
        typer.echo(printing.line(found) if as_json else questions.words(loaded, found, top))

    def reads(name: str, several: bool) -> list[str]:
        return [input(f"{name}> " if sys.stdin.isatty() else "")]

    with progress.hidden():
        if texts:
            for one in _given(loaded, texts, names):
                put(one)
            return
        try:
            while question := questions.read(loaded, reads, names):
                put(question)
        except EOFError:
            return
    if not sys.stdin.isatty() and (rest := sum(bool(line.strip()) for line in sys.stdin)):
        raise RetuneError(f"an empty line ends the questions, and {rest} lines behind it were not asked: remove it")


def chat(model: Named) -> None:
    """Ask a model of any kind again and again: a history, other thresholds, reasoning, a file of the session.

    /help lists its commands. Ctrl-C cancels what is typed, Ctrl-D ends.

    Example: `retune chat intent_encoder`
    """
    from retune.cli import chatting

    chatting.chat(loading.load(model))


def _given(model: Model, texts: list[str], dimensions: list[str]) -> list[Question]:
    """The questions of a command line. Raises a usage error for a wrong number of texts."""
    from retune.cli.questions import Question, fields

    names = fields(model)
    if model.spec.kind == "ranking":
        if len(texts) < 2:
            raise typer.BadParameter(f"{model.name} is of kind ranking: give a query and documents")
        return [Question({"query": texts[0]}, tuple(texts[1:]))]
    if len(texts) % len(names):
        raise typer.BadParameter(f"{model.name} is of kind {model.spec.kind}: give {' and '.join(names)}")
    starts = range(0, len(texts), len(names))
    return [
        Question(dict(zip(names, texts[at : at + len(names)], strict=True)), (), tuple(dimensions)) for at in starts
    ]
