"""Commands that compare what was built: checkpoints, shares of the data, revisions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson
from retune.cli.running import CannotTell
from retune.errors import RetuneError


def checkpoints(
    model: Annotated[str, typer.Argument(help="a trained model of params.yaml", autocompletion=completion.own_models)],
    promote: Annotated[
        str,
        typer.Option(metavar="STEP", help="build the model from the checkpoint after this step, or from the `best`"),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare the checkpoints of a training on dev, as a table and as a page; or choose another one for the model.

    Example: `retune checkpoints intent_encoder`
    """
    from retune.pipeline import seeds
    from retune.report import checkpoints as page

    if promote:
        if model in seeds.read()["models"]:
            raise RetuneError(
                f"{model} is the training of a further seed and no entry of params.yaml: promote the step of its model "
                "for all seeds"
            )
        said = page.promote(model, promote)
        printing.put({"message": said}, said, as_json)
        return
    found = page.read(model)
    curves = page.draw(found)
    record = {**dataclasses.asdict(found), "curves": curves}
    printing.put(record, lambda: f"{page.table(found)}\ncurves: {curves}", as_json)


def curve(
    task: Annotated[
        str,
        typer.Argument(
            help="a task that experiments built with several `data_ratio`s", autocompletion=completion.tasks
        ),
    ],
    metric: Annotated[str | None, typer.Option(help="of the test split; default: the primary one")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw test metric and training cost against the share of the training data, over the experiments of DVC.

    Example: `retune curve risk --metric mae`
    """
    from retune.report import learning_curve

    found = learning_curve.read(task, metric)
    curves = learning_curve.draw(found)
    record = {**dataclasses.asdict(found), "curves": curves}
    printing.put(record, lambda: f"{learning_curve.table(found)}\ncurves: {curves}", as_json)


def gate(
    base: Annotated[str, typer.Option(help="the revision to compare with")] = "main",
    head: Annotated[str | None, typer.Option(help="the revision that is judged; default: the working tree")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare all models with another revision's, on the same test rows: better, worse, or no evidence either way.

    Prints Markdown, or JSON. Exit code 1: a model is shown to be worse by more than its tolerance (`gate` in
    params.yaml); 2: it can't be told.

    Example: `retune gate --base main`
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
        raise CannotTell(str(error)) from error
    printing.put(gate_words.numbers(found), lambda: gate_words.markdown(found), as_json, nl=False)
    raise typer.Exit(1 if found.regressions else 0)


def _up_to_date() -> None:
    """Raise where the declarations have changed since the last build, so that old predictions would be judged."""
    from retune.params import RESOLVED
    from retune.pipeline.reads import dumps
    from retune.pipeline.resolve import resolve

    if not RESOLVED.is_file() or RESOLVED.read_text(encoding="utf-8") != dumps(resolve(Path()).resolved):
        raise RetuneError(f"{RESOLVED} is out of date, so what lies here was built by older declarations: `dvc repro`")
