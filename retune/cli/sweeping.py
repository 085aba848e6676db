"""The command that searches for better values of a model's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson


def sweep(
    models: Annotated[
        list[str],
        typer.Argument(help="declared models, one search after the other", autocompletion=completion.declared),
    ],
    values: Annotated[
        list[str], typer.Option("-S", "--set-param", help="KEY=8,16,64 or KEY=1e-5..1e-4; may stand several times")
    ],
    trials: Annotated[int, typer.Option(min=1, help="trials in all, those of an earlier run included")] = 12,
    sampler: Annotated[str, typer.Option(help="tpe, random, or grid (all combinations of lists, in order)")] = "tpe",
    metric: Annotated[str, typer.Option(help="dev metric to go by; default: the one that picks the checkpoint")] = "",
    folds: Annotated[
        int, typer.Option(min=0, help="train each trial so often, on the training groups as folds; 0: once, by dev")
    ] = 0,
    prune: Annotated[str, typer.Option(help="end trials that are worse than the others: median, or halving")] = "",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="trials at a time")] = 1,
    experiments: Annotated[
        bool, typer.Option(help="keep the finished trials as experiments of DVC, for `dvc exp show`")
    ] = False,
    name: Annotated[str, typer.Option(help="of the sweep, for several of a model; default: the model's")] = "",
    as_json: AsJson = False,
) -> None:
    """Try values of a model's keys, one training each, and find the best on dev; see docs/sweep.md.

    Example: `retune sweep intent_encoder -S training.learning_rate=5e-5..5e-4 -S training.head=probe,random`
    """
    import re

    from retune.errors import RetuneError
    from retune.sweep import experiments as kept
    from retune.sweep import search, words

    if name and not re.fullmatch(r"[A-Za-z0-9_\-]+", name):
        raise RetuneError(f"--name {name}: take letters, digits, _ and -")
    if twice := [model for model in models if models.count(model) > 1]:
        raise RetuneError(f"{twice[0]} stands twice: name each model once")
    options = search.Options(trials=trials, by=sampler, metric=metric, folds=folds, prune=prune, jobs=jobs)
    if experiments:
        kept.check(Path())
    for model in models:
        search.check(Path(), model, values, options)  # before the first one takes its hours
    said, texts = [], []
    for model in models:
        called = f"{name}-{model}" if name and len(models) > 1 else name
        found = search.sweep(Path(), model, values, options, name=called, say=printing.say(True))
        page = words.page(found, search.FOLDER / found.name / "index.html")
        texts.append(printing.visible(f"{words.table(found)}\nthe page: {page}"))
        said.append({
            "model": found.model, "metric": found.metric, "best": found.done[0], "trials": found.trials,
            "importances": found.importances, "build": found.command(), "page": page,
        })  # fmt: skip
        if experiments:
            names = kept.keep(Path(), found)
            texts.append(f"{len(names)} experiments, see `dvc exp show`; dvc exp remove {' '.join(names)}")
            said[-1]["experiments"] = names
    printing.put(said if len(models) > 1 else said[0], lambda: "\n\n".join(texts), as_json)
