"""Commands that compare what was built: checkpoints, shares of the data, revisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from retune.errors import RetuneError


def checkpoints(
    model: Annotated[str, typer.Argument(help="a trained model of params.yaml")],
    promote: Annotated[
        str,
        typer.Option(metavar="STEP", help="build the model from the checkpoint after this step, or from the `best`"),
    ] = "",
) -> None:
    """Compare the checkpoints of a training on dev, as a table and as a page; or choose another one for the model."""
    from retune.report import checkpoints as page

    if promote:
        typer.echo(page.promote(model, promote))
        return
    found = page.read(model)
    typer.echo(page.table(found))
    typer.echo(f"curves: {page.draw(found)}")


def curve(
    task: Annotated[str, typer.Argument(help="a task that experiments built with several `data_ratio`s")],
    metric: Annotated[str | None, typer.Option(help="of the test split; default: the primary one")] = None,
) -> None:
    """Draw test metric and training cost against the share of the training data, over the experiments of DVC."""
    from retune.report import learning_curve

    found = learning_curve.read(task, metric)
    typer.echo(learning_curve.table(found))
    typer.echo(f"curves: {learning_curve.draw(found)}")


def gate(
    base: Annotated[str, typer.Option(help="the revision to compare with")] = "main",
    head: Annotated[str | None, typer.Option(help="the revision that is judged; default: the working tree")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print numbers instead of Markdown")] = False,
) -> None:
    """Compare all models with another revision's, on the same test rows: better, worse, or no evidence either way.

    Exit code 1: a model is shown to be worse by more than its tolerance (`gate` in params.yaml); 2: it can't be told.
    """
    from contextlib import ExitStack

    from retune.report import gate as comparison
    from retune.report import gate_words, revisions

    try:
        if head is None:
            _up_to_date()
        with ExitStack() as opened:
            before, after = (revisions.at(Path(), name, opened) for name in (base, head))
            found = comparison.compare(before, after)
    except RetuneError as error:
        typer.echo(f"retune: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(gate_words.numbers(found), indent=2) if as_json else gate_words.markdown(found), nl=as_json)
    raise typer.Exit(1 if found.regressions else 0)


def _up_to_date() -> None:
    """Raise where the declarations have changed since the last build, so that old predictions would be judged."""
    from retune.params import RESOLVED
    from retune.pipeline.reads import dumps
    from retune.pipeline.resolve import resolve

    if not RESOLVED.is_file() or RESOLVED.read_text(encoding="utf-8") != dumps(resolve(Path()).resolved):
        raise RetuneError(f"{RESOLVED} is out of date, so what lies here was built by older declarations: `dvc repro`")
