"""A judge: a model behind an API grades a written reason from 1 to 5 in each measure of `retune.evaluation.rationale`.

What it is asked is the fixed text beside this module. Document, question and reason are data that anyone may have
written: they stand between tags that they can't close, since their own `<` is sent as `&lt;`. An answer that is
anything but the four grades is unparsed. docs/rationale.md says what the grades are worth.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retune.data import written_answers
from retune.evaluation.rationale import MEASURES
from retune.sources import chat_api
from retune.sources.chat_api import Reply

if TYPE_CHECKING:
    from retune.params import Params

GRADES = range(1, 6)

FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


class Case(NamedTuple):
    """What is graded: the reason that was given to a question about a document."""

    document: str
    question: str
    reason: str


def ask(judge: Params, cases: Sequence[Case]) -> list[Reply]:
    """The judge's replies; those that it gave before come from the cache of `retune.sources.chat_api`."""
    told = Path(__file__).with_name("judge.prompt.txt").read_text(encoding="utf-8").strip()
    requests = [chat_api.request(judge, told, message(case)) for case in cases]
    return chat_api.ask(judge, requests, "evaluation.judge")


def message(case: Case) -> str:
    """The three texts, each inside its tag."""
    parts = case._asdict().items()
    return "\n\n".join(f"<{name}>\n{html.escape(text, quote=False)}\n</{name}>" for name, text in parts)


def read(text: str | None) -> dict[str, int] | None:
    """The grades of an answer: a JSON object of exactly the four measures, each a whole number from 1 to 5; else None.

    Thoughts before it, and a Markdown fence around it, are no part of the answer.
    """
    said = written_answers.behind_thoughts(text or "")
    if fenced := FENCE.fullmatch(said):
        said = fenced[1]
    try:
        pairs = json.loads(said, object_pairs_hook=tuple)  # keeps a key that stands twice
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple) or sorted(name for name, _ in pairs) != sorted(MEASURES):
        return None
    if any(type(grade) is not int or grade not in GRADES for _, grade in pairs):
        return None
    return dict(pairs)
