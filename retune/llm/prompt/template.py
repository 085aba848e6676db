"""A prompt template's texts: the system text with the labels in it, the user's text with a row in it.

In `user`, `{column}` is replaced by the row's text in one pass: text that itself holds `{column}` stays as it is. In
`system`, `{labels}` becomes one line for each label: its answer, and the label where that is another text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

PLACEHOLDER = re.compile(r"\{(\w+)\}")


def system(template: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The system text; empty where the template has none."""
    answers = {label: str(template["answers"][label]) for label in labels}
    lines = [answer if answer == label else f"{answer} {label}" for label, answer in answers.items()]
    return (template.get("system") or "").replace("{labels}", "\n".join(lines))


def display_values(row: Mapping[str, str], values: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The row as a prompt shows it: `values` gives, for a column, the text that stands for each of its values."""
    return {name: values[name][text] if name in values else text for name, text in row.items()}


def user(text: str, row: Mapping[str, str]) -> str:
    """The user's text for a row."""
    return PLACEHOLDER.sub(lambda match: row.get(match[1], match[0]), text)
