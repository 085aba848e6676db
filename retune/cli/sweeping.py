"""The command that searches for better values of a model's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson


def sweep(
    model: Annotated[str, typer.Argument(help="a declared model", autocompletion=completion.declared)],
    values: Annotated[
        list[str], typer.Option("-S", "--set-param", help="KEY=8,16,64 or KEY=1e-5..1e-4; may stand several times")
    ],
    trials: Annotated[int, typer.Option(min=1, help="trainings in all, those of an earlier run included")] = 12,
    sampler: Annotated[str, typer.Option(help="tpe, random, or grid (all combinations of lists, in order)")] = "tpe",
    metric: Annotated[str, typer.Option(help="dev metric to go by; default: the one that picks the checkpoint")] = "",
    name: Annotated[str, typer.Option(help="of the sweep, for several of a model; default: the model's")] = "",
    as_json: AsJson = False,
) -> None:
    """Try values of a model's keys, one training each, and find the best on dev; see docs/sweep.md.

    Example: `retune sweep intent_encoder -S training.learning_rate=5e-5..5e-4 -S training.head=probe,random`
    """
    import re

    from retune.errors import RetuneError
    from retune.sweep import search, words

    if name and not re.fullmatch(r"[A-Za-z0-9_\-]+", name):
        raise RetuneError(f"--name {name}: take letters, digits, _ and -")
    found = search.sweep(
        Path(), model, values, trials=trials, by=sampler, metric=metric, name=name, say=printing.say(True)
    )
    page = words.page(found, search.FOLDER / found.name / "index.html")
    best = found.done[0]
    said = {
        "model": found.model, "metric": found.metric, "best": best, "trials": found.trials,
        "importances": found.importances, "build": found.command(), "page": page,
    }  # fmt: skip
    printing.put(said, lambda: printing.visible(f"{words.table(found)}\nthe page: {page}"), as_json)
