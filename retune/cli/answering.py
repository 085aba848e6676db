"""Commands that ask a model, and the one that writes rows for other tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retune.errors import RetuneError, unknown

if TYPE_CHECKING:
    from retune.inference import Model

OTHERS = ", a folder exports/NAME, or one of a revision: REV:models/NAME, REPO@REV:models/NAME"


def predict(
    model: Annotated[str, typer.Argument(help=f"a built model{OTHERS}")],
    file: Annotated[Path, typer.Argument(help="csv, tsv, json, jsonl, parquet or xlsx, without labels")],
    out: Annotated[Path | None, typer.Option(help="csv or jsonl file to write; default: standard output")] = None,
    form: Annotated[str | None, typer.Option("--format", help="csv, jsonl, or contest (lines of id and label)")] = None,
    table: Annotated[int | None, typer.Option(help="table of the source that FILE is like, from 1")] = None,
    column: Annotated[list[str] | None, typer.Option(help="NAME=FIELD, where a text (or id) of FILE is")] = None,
    dimensions: Annotated[str, typer.Option(help="kind scoring: A,B,... for every record; default: all")] = "",
) -> None:
    """Predict a file without labels: one line for each record, calibrated, decided by the model's threshold.

    Kind scoring: one line for each record and dimension.
    """
    from retune import params, predict_file

    if form not in (None, "csv", "jsonl", "contest"):
        raise RetuneError(f"--format {form}: take csv, jsonl or contest")
    loaded = _labelled(_loaded(model))
    task = params.load().tasks.get(loaded.spec.task, {}) if params.RESOLVED.is_file() else {}
    pairs = [one.partition("=") for one in column or []]
    if odd := [one for one in pairs if not one[2]]:
        raise RetuneError(f"--column {odd[0][0]}: give NAME=FIELD, such as {loaded.texts[0]}=sentence1")
    given = {name: field for name, _, field in pairs}
    tables = task.get("convert", {}).get("tables", [])
    read, columns = predict_file.mapping(loaded, file, tables, table, given)
    columns, asked = predict_file.asked(loaded, file, columns, _listed(dimensions))
    with predict_file.output(out, form, file) as (stream, chosen):
        done = predict_file.predict(loaded, file, read, columns, chosen, stream, asked)
    said = f"{done.rows:,} records, {done.empty:,} without a prediction, {done.truncated:,} cut to the model's length"
    typer.echo(said + (f": {out}" if out else ""), err=True)


def score(
    model: Annotated[str, typer.Argument(help=f"a built model of kind scoring{OTHERS}")],
    document: Annotated[str, typer.Argument(help="a text, or a file that holds one")],
    dimensions: Annotated[str, typer.Option(help="A,B,...; default: all")] = "",
) -> None:
    """Score one document: for each dimension the score, its expected value, reason and reasoning, as JSON."""
    text = Path(document).read_text(encoding="utf-8") if _is_file(document) else document
    found = _loaded(model).score(text, _listed(dimensions) or None)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


def align(
    model: Annotated[str, typer.Argument(help=f"a built model of kind pair{OTHERS}")],
    question: Annotated[str, typer.Argument(help="the first text")],
    chunk: Annotated[str, typer.Argument(help="the second text")],
) -> None:
    """Compare two texts: label, its answer in the prompt, probability and reasoning, as JSON."""
    found = _loaded(model).align(question, chunk)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


def _loaded(name: str) -> Model:
    """A model of this project by its name alone, or anything that `retune.load` takes."""
    from retune import inference

    return inference.load(name if "/" in name or ":" in name else Path("models") / name)


def _labelled(model: Model) -> Model:
    """The model, if its rows are texts to label or to score."""
    if model.spec.kind == "ranking":
        raise RetuneError(
            f"{model.name} is of kind ranking, whose rows are no lines of a file: from Python, "
            f'`retune.load("models/{model.name}").rerank(query, documents)`'
        )
    return model


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _is_file(text: str) -> bool:
    """Whether an argument names a file; a long text is no path."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


def ask(model: Annotated[str, typer.Argument(help=f"a built model{OTHERS}")]) -> None:
    """Label what is typed, a text a line (a pair: two): the label, and the likeliest three; an empty line ends."""
    loaded = _labelled(_loaded(model))
    while True:
        try:
            row = {name: input(f"{name}> " if sys.stdin.isatty() else "") for name in loaded.texts}
        except EOFError:
            return
        if not all(text.strip() for text in row.values()):
            return
        (found,) = loaded.predict([row])
        if "score" in found:
            typer.echo(f"{found['score']:.2f}  {found.get('reason') or ''}".rstrip())
            continue
        if found["label"] is None:
            typer.echo(f"no label: {found['raw']}")
            continue
        ranked = sorted(loaded.spec.labels, key=lambda label: -found[f"prob_{label}"])
        likeliest = ", ".join(f"{label} {found[f'prob_{label}']:.3f}" for label in ranked[:3])
        typer.echo(f"{found['label']}  ({likeliest})")


def rows(
    task: Annotated[str, typer.Argument(help="a task whose splits are built")],
    out: Annotated[Path, typer.Option(help="folder that gets a file for each split")],
    form: Annotated[str, typer.Option("--format", help="sharegpt, alpaca, or jsonl (the table as it is)")] = "sharegpt",
    split: Annotated[list[str] | None, typer.Option(help="train, dev, calibration or test; default: all")] = None,
    thinking: Annotated[
        bool | None,
        typer.Option(help="reasoning between <think> tags before the answer; default: where rows have any"),
    ] = None,
) -> None:
    """Write a task's rows as an LLM is trained on them, for LLaMA-Factory (with dataset_info.json) and others."""
    from retune import params
    from retune.data.split import SPLITS
    from retune.llm import export_rows

    known = params.load().tasks
    if task not in known:
        raise RetuneError(unknown("task", task, list(known)))
    folder = Path("data/splits") / task
    counts = export_rows.export(task, known[task], folder, form, out, split or SPLITS, thinking)
    for file, count in counts.items():
        typer.echo(f"{out / file}: {count:,} rows")


def export() -> None:
    """Say what took the place of a command that wrote rows."""
    raise RetuneError(
        "rows are written by `retune rows TASK --out FOLDER`; a model is exported by an entry of `exports` in "
        "params.yaml and `dvc repro export@NAME` (docs/exports.md)"
    )
