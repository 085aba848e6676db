"""Commands about labels that people should look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson


def doubts(
    task: Annotated[str, typer.Argument(help="a task whose exploration is built", autocompletion=completion.tasks)],
    rows: Annotated[int, typer.Option(min=1, help="so many of the most doubtful rows")] = 50,
    out: Annotated[
        Path | None,
        typer.Option(help="file for Label Studio (JSON tasks); beside it FILE.xml, the labelling interface"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the training rows whose label is probably wrong, or write them for Label Studio; nothing is changed.

    Example: `retune doubts intent --rows 100 --out review.json`
    """
    from retune.doubts import review

    found = review.read(Path(), task, rows)
    if out:
        interface = review.write(found, out)
        said = f"{out}: {len(found.rows):,} tasks for Label Studio; {interface}: the labelling interface"
        printing.put({"file": out, "interface": interface, "rows": len(found.rows)}, said, as_json)
        return
    printing.put(found.rows, lambda: "\n".join(map(printing.visible, review.lines(found))), as_json)
