"""Jinja as the pages use it: every text is escaped, a missing name is an error, words.py gives the filters."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from retune.report import words

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


def environment(*folders: Path) -> Environment:
    """Templates of this folder, and before them those of `folders`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=FileSystemLoader([*folders, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "number", "signed", "interval", "signed_interval", "p_value", "count", "share", "quantity", "has_chinese",
        "shorten", "rows_of", "metric", "over_seeds",
    ):  # fmt: skip
        environment.filters[name] = getattr(words, name)
    # What isn't escaped: drawings of charts.py, which escapes what it writes; our style sheet and script; and line
    # break marks.
    environment.filters["drawing"] = lambda figure: Markup(figure.svg)
    environment.filters["breakable"] = lambda name: escape(name).replace("_", Markup("_<wbr>"))
    environment.globals["css"] = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    script = (HERE / "runs.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"runs_script": Markup(script), "runs_digest": Markup(f"sha256-{digest}")}
    return environment
