"""A page of curves above the table of their points, beside the report: `retune checkpoints`, `retune curve`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retune.report.charts import Style
from retune.report.figures import Figure
from retune.report.jinja import environment


def write(
    out: Path,
    title: str,
    name: str,
    figures: Sequence[Figure],
    table: str,
    *,
    note: str = "",
    keys: Sequence[tuple[str, Style]] = (),
) -> Path:
    """Write the page of what is called `name` to `out`, which is returned; `keys` name the series of all figures."""
    page = environment().get_template("curve_page.html")
    out.parent.mkdir(parents=True, exist_ok=True)
    text = page.render(title=title, name=name, figures=figures, table=table, note=note, keys=keys)
    out.write_text(text + "\n", encoding="utf-8")
    return out
