"""A session of `retune chat`: what was asked and answered, and the `/` commands about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from retune import atomic_file, progress
from retune.cli import loading, printing, questions
from retune.cli.questions import Question
from retune.errors import RetuneError, nearest, unknown
from retune.inference import Model

SHOWN = 40
"""Labels that /model lists."""

FITTED = ("temperature", "abstain_below", "none_below", "scale", "bias")
"""Numbers of the calibration that /model tells, beside the threshold."""


class Quit(Exception):
    """The user has had enough."""


@dataclass(frozen=True)
class Asked:
    """A question, its answer (`questions.answer`), and the session's own threshold, if it had one."""

    question: Question
    answer: Any
    threshold: float | None


@dataclass
class Session:
    """A model with the settings of now, and what it was asked so far."""

    loaded: Model
    threshold: float | None = None
    top: int | None = None
    thinking: bool = True
    dimensions: tuple[str, ...] = ()
    asked: list[Asked] = field(default_factory=list)
    written: set[Path] = field(default_factory=set)

    @property
    def model(self) -> Model:
        """The model, with the session's threshold in the place of its own."""
        if self.threshold is None:
            return self.loaded
        return replace(self.loaded, fitted={**self.loaded.fitted, "threshold": self.threshold})

    def ask(self, question: Question) -> str:
        """Ask, remember, and say the answer."""
        if self.loaded.spec.kind == "scoring":
            question = replace(question, dimensions=self.dimensions)
        with progress.hidden():
            found = questions.answer(self.model, question)
        self.asked.append(Asked(question, found, self.threshold))
        return self._said(found)

    def obey(self, line: str) -> str:
        """Carry out `/NAME ARGUMENT`; what to print. Raises `Quit`, and `RetuneError` where it can't be done."""
        name, _, argument = line[1:].strip().partition(" ")
        if name not in COMMANDS:
            raise RetuneError(f"there is no command `/{name}`{nearest(name, list(COMMANDS))}; /help lists all")
        return COMMANDS[name](self, argument.strip())

    def help(self, _: str) -> str:
        """List the commands."""
        lines = [f"  {_usage(name):<22} {(inspect.getdoc(method) or '').splitlines()[0]}" for name, method in _listed()]
        return "\n".join(
            [
                *lines,
                "  /file PATH             take the text from a file; of a ranking, a document a line",
                "  a line that ends in \\  goes on in the next one; one that begins with // begins with /",
                "  Ctrl-C cancels what is typed, Ctrl-D ends",
            ]
        )

    def history(self, _: str) -> str:
        """Show what was asked and answered, with numbers."""
        if not self.asked:
            return "nothing was asked yet"
        return "\n".join(
            f"{number:>3}  {_asked(one.question)}  ->  {questions.short(self.model, one.answer)}"
            + (f"  (threshold {one.threshold:.4g})" if one.threshold is not None else "")
            for number, one in enumerate(self.asked, 1)
        )

    def again(self, argument: str) -> str:
        """Ask the last question, or number N, again with the settings of now."""
        if not self.asked:
            raise RetuneError("nothing was asked yet")
        number = _whole(argument or str(len(self.asked)), "/again", len(self.asked))
        said = self.ask(self.asked[number - 1].question)
        return f"{_asked(self.asked[-1].question)}\n{said}"

    def set_top(self, argument: str) -> str:
        """Show N labels (of a ranking: documents) of an answer."""
        self.top = _whole(argument, "/top")
        return f"{self.top} are shown" + (f"\n{self._said(self.asked[-1].answer)}" if self.asked else "")

    def set_threshold(self, argument: str) -> str:
        """Decide by another threshold in this session; `/threshold model` takes the model's again."""
        own = self.loaded.fitted.get("threshold")
        if own is None:
            raise RetuneError(
                f"{self.loaded.name} has no threshold: it is for kind pair, whose second label it decides"
            )
        if argument:
            self.threshold = None if argument == "model" else _probability(argument)
        if self.threshold is None:
            return f"{own:.4g}, the model's"
        return f"{self.threshold:.4g} of this session, not the model's {own:.4g}"

    def set_thinking(self, _: str) -> str:
        """Show or hide the reasoning, where a model writes any."""
        self.thinking = not self.thinking
        return f"reasoning is {'shown' if self.thinking else 'hidden'}"

    def set_dimensions(self, argument: str) -> str:
        """Score in dimensions A,B; without a name in all of them."""
        if self.loaded.spec.kind != "scoring":
            raise RetuneError(f"{self.loaded.name} is of kind {self.loaded.spec.kind}: only scores have dimensions")
        known, names = list(self.loaded.spec.dimensions), loading.listed(argument)
        if odd := [name for name in names if name not in known]:
            raise RetuneError(unknown("dimension", odd[0], known, f" of {self.loaded.name}"))
        self.dimensions = tuple(names)
        return f"scored in: {', '.join(names or known)}"

    def save(self, argument: str) -> str:
        """Write the session to a new file as JSON lines, a question each."""
        if not argument:
            raise RetuneError("/save FILE: give a file, such as /save session.jsonl")
        path = Path(argument).expanduser()
        if path.exists() and path.resolve() not in self.written:
            raise RetuneError(f"{path} is there already and is kept: give another name")
        if not path.parent.is_dir():
            raise RetuneError(f"{path.parent} is no folder: make it, or give another one")
        commit = _commit(self.loaded)
        lines = [printing.line(self._record(number, one, commit)) for number, one in enumerate(self.asked, 1)]
        with atomic_file.replacing(path) as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self.written.add(path.resolve())
        return f"{path}: {len(lines)} questions"

    def describe(self, _: str) -> str:
        """Say what is loaded: kind, labels, threshold, commit."""
        model, labels = self.loaded, list(self.loaded.spec.get("labels") or ())
        fitted = [f"{name} {model.fitted[name]:.4g}" for name in FITTED if name in model.fitted]
        answers = (model.spec.get("prompt") or {}).get("answers") or {}
        named = [label if answers.get(label, label) == label else f"{label} = {answers[label]}" for label in labels]
        said = {
            "model": f"{model.name} ({model.folder})",
            "kind": f"{model.spec.kind}, learner {model.spec.learner}, task {model.spec.task}",
            "dimensions": ", ".join(self.dimensions or model.spec.get("dimensions") or ()),
            "labels": ", ".join(named[:SHOWN]) + (f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""),
            "fitted": ", ".join(fitted),
            "threshold": self.set_threshold("") if "threshold" in model.fitted else "",
            "commit": _commit(model) or "unknown",
        }
        if model.spec.kind == "ranking":  # its two labels are words of a prompt
            del said["labels"]
        return "\n".join(f"{name:<11} {text}" for name, text in said.items() if text)

    def clear(self, _: str) -> str:
        """Forget what was asked."""
        self.asked.clear()
        return "the history is empty"

    def quit(self, _: str) -> str:
        """End."""
        raise Quit

    def _said(self, found: Any) -> str:
        said = questions.words(self.model, found, self.top, self.thinking)
        return f"{said}\n  threshold {self.set_threshold('')}" if self.threshold is not None else said

    def _record(self, number: int, one: Asked, commit: str | None) -> dict[str, Any]:
        question = {name: value for name, value in vars(one.question).items() if value}
        texts = question.pop("texts")
        own = self.loaded.fitted.get("threshold")
        of_session = {} if own is None else {"value": own if one.threshold is None else one.threshold}
        threshold = of_session | ({"of": "model" if one.threshold is None else "session"} if of_session else {})
        return {
            "number": number,
            "model": self.loaded.name,
            "commit": commit,
            "question": {**texts, **question},
            "answer": one.answer,
            **({"threshold": threshold} if threshold else {}),
        }


COMMANDS: dict[str, Callable[[Session, str], str]] = {
    "help": Session.help,
    "history": Session.history,
    "again": Session.again,
    "last": Session.again,
    "top": Session.set_top,
    "threshold": Session.set_threshold,
    "thinking": Session.set_thinking,
    "dimensions": Session.set_dimensions,
    "save": Session.save,
    "model": Session.describe,
    "clear": Session.clear,
    "quit": Session.quit,
}
ARGUMENTS = {"again": "[N]", "top": "N", "threshold": "X", "dimensions": "A,B", "save": "FILE"}


def _listed() -> list[tuple[str, Callable[[Session, str], str]]]:
    return [(name, method) for name, method in COMMANDS.items() if name != "last"]


def _usage(name: str) -> str:
    alias = ", /last" if name == "again" else ""
    return f"/{name}{alias} {ARGUMENTS.get(name, '')}".rstrip()


def _asked(question: Question) -> str:
    texts = [questions.one_line(text, 40) for text in question.texts.values()]
    more = [f"{len(question.documents)} documents"] if question.documents else []
    return " | ".join([*texts, *more, *question.dimensions])


def _whole(text: str, command: str, most: int | None = None) -> int:
    limit = f" to {most}" if most else " or more"
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= (most or int(text)):
        raise RetuneError(f"{command} {text or 'N'}: give a whole number, 1{limit}")
    return int(text)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RetuneError(f"/threshold {text}: give a number from 0 to 1, or `model`")
    return value


def _commit(model: Model) -> str | None:
    """The commit that recorded the model, where that is known."""
    try:
        found = model.origin()
    except (RetuneError, OSError, KeyError):  # a folder by itself, without dvc.lock
        return None
    commit = found.get("commit")
    return commit["hash"] if commit else None
