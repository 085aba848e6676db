"""Commands that ask a model once: a file of rows, a pair, a document, a query with documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer

from retune.cli import loading, printing
from retune.cli.loading import Named
from retune.cli.printing import AsJson
from retune.errors import RetuneError


def predict(
    model: Named,
    file: Annotated[Path, typer.Argument(help="csv, tsv, json, jsonl, parquet or xlsx, without labels")],
    out: Annotated[Path | None, typer.Option(help="csv or jsonl file to write; default: standard output")] = None,
    form: Annotated[str | None, typer.Option("--format", help="csv, jsonl, or contest (lines of id and label)")] = None,
    table: Annotated[int | None, typer.Option(help="table of the source that FILE is like, from 1")] = None,
    column: Annotated[list[str] | None, typer.Option(help="NAME=FIELD, where a text (or id) of FILE is")] = None,
    dimensions: Annotated[str, typer.Option(help="kind scoring: A,B,... for every record; default: all")] = "",
    as_json: AsJson = False,
) -> None:
    """Predict a file without labels: one line for each record, calibrated, decided by the model's threshold.

    Kind scoring: one line for each record and dimension. Kind ranking: a record is a query and a document, and `rank`
    is its place among those of its query, the best is 1. With --json: JSON lines, and behind --out FILE the counts.

    Example: `retune predict intent_encoder new.csv --out predictions.csv`
    """
    from retune import params, predict_file

    if form not in (None, "csv", "jsonl", "contest"):
        raise RetuneError(f"--format {form}: take csv, jsonl or contest")
    loaded = loading.load(model)
    task = params.load().tasks.get(loaded.spec.task, {}) if params.RESOLVED.is_file() else {}
    pairs = [one.partition("=") for one in column or []]
    if odd := [one for one in pairs if not one[2]]:
        raise RetuneError(f"--column {odd[0][0]}: give NAME=FIELD, such as {loaded.texts[0]}=sentence1")
    given = {name: field for name, _, field in pairs}
    tables = task.get("convert", {}).get("tables", [])
    read, columns = predict_file.mapping(loaded, file, tables, table, given)
    columns, asked = predict_file.asked(loaded, file, columns, loading.listed(dimensions))
    if as_json and out is None:
        form = form or "jsonl"
    with predict_file.output(out, form, file) as (stream, chosen):
        shown = cast(IO[str], _Shown()) if stream is sys.stdout and sys.stdout.isatty() else stream
        done = predict_file.predict(loaded, file, read, columns, chosen, shown, asked)
    said = f"{done.rows:,} records, {done.empty:,} without a prediction, {done.truncated:,} cut to the model's length"
    said += "" if done.abstained is None else f", {done.abstained:,} not sure enough for a label"
    typer.echo(said + (f": {out}" if out else ""), err=True)
    if as_json and out:
        counts = {"records": done.rows, "without_prediction": done.empty, "truncated": done.truncated}
        counts |= {} if done.abstained is None else {"abstained": done.abstained}
        typer.echo(printing.document({"out": out, **counts}))


class _Shown:
    """Standard output where it is a terminal: what a file says is shown, not executed."""

    def write(self, text: str) -> int:
        return sys.stdout.write(printing.visible(text))


def score(
    model: Named,
    document: Annotated[str, typer.Argument(help="a text, or a file that holds one")],
    dimensions: Annotated[str, typer.Option(help="A,B,...; default: all")] = "",
    as_json: AsJson = False,
) -> None:
    """Score one document: for each dimension the score, its expected value, reason and reasoning; always as JSON.

    Example: `retune score risk_linear company.txt --dimensions innovation`
    """
    _print(loading.load_for("score", model).score(loading.text_or_file(document), loading.listed(dimensions) or None))


def align(
    model: Named,
    question: Annotated[str, typer.Argument(help="the first text")],
    chunk: Annotated[str, typer.Argument(help="the second text")],
    as_json: AsJson = False,
) -> None:
    """Compare two texts: label, its answer in the prompt, probability and reasoning; always as JSON.

    Example: `retune align alignment_llm "e100故障怎么办" "e100.1故障表示过电流"`
    """
    _print(loading.load_for("align", model).align(question, chunk))


def rank(
    model: Named,
    query: Annotated[str, typer.Argument(help="what is looked for")],
    documents: Annotated[list[str] | None, typer.Argument(help="texts to rank")] = None,
    file: Annotated[Path | None, typer.Option(help="a file with a document a line, beside DOCUMENTS")] = None,
    as_json: AsJson = False,
) -> None:
    """Rank documents by how well they answer a query, the best first: place, score and relevance; always as JSON.

    `place` counts the documents as they were given, from 0.

    Example: `retune rank retrieval_reranker "怎么补卡" "补卡带身份证" "流量怎么买"`
    """
    given = [*(documents or []), *(loading.documents(file) if file else [])]
    if not given:
        raise typer.BadParameter("give DOCUMENTS, or --file FILE with a document a line")
    _print(loading.load_for("rank", model).rerank(query, given))


def _print(found: Any) -> None:
    typer.echo(printing.document(found))
