"""The command line around `dvc repro`: `retune --help` lists the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from retune.errors import RetuneError
from retune.verify.commands import provenance, verify

commands = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Helpers around `dvc repro`."
)


def app() -> None:
    """Run the command line; an error that the user can mend is one message and exit code 1."""
    try:
        commands()
    except RetuneError as error:
        sys.exit(f"retune: {error}")


@commands.command()
def keys(word: Annotated[str, typer.Argument(help="show only keys that contain this")] = "") -> None:
    """List every key of params.yaml, the catalogs and the prompts: values, limits, default, meaning."""
    from retune.pipeline.declarations import PARAMS
    from retune.pipeline.keys import all_keys, table
    from retune.pipeline.yaml_file import read

    here = read(Path(), PARAMS) if Path(PARAMS).is_file() else None
    rows = [key for key in all_keys(here) if word in key.path]
    if not rows:
        raise RetuneError(f"no key contains `{word}`; `retune keys` lists all")
    typer.echo(table(rows))


@commands.command()
def check() -> None:
    """Validate params.yaml, the catalogs, the prompts and dvc.yaml without building; print the warnings."""
    from retune.params import RESOLVED, loads
    from retune.pipeline.checks import artifacts, place, stages
    from retune.pipeline.reads import dumps
    from retune.pipeline.resolve import resolve

    resolution = resolve(Path())
    if "gate" in resolution.resolved:  # the names of metrics are not known to `resolve`
        from retune.report.gate import tolerances

        tolerances(loads(dumps(resolution.resolved)))
    of_pipeline = (check.warnings(Path(), resolution.resolved) for check in (stages, artifacts, place))
    for warning in (*resolution.warnings, *(one for found in of_pipeline for one in found)):
        typer.echo(f"warning: {warning}")
    now = RESOLVED.read_text(encoding="utf-8") if RESOLVED.is_file() else None
    state = "is up to date" if now == dumps(resolution.resolved) else "is out of date: `dvc repro` brings it up to date"
    counts = ", ".join(f"{len(resolution.resolved[part])} {part}" for part in ("tasks", "models", "bases"))
    typer.echo(f"valid: {counts}; {RESOLVED} {state}")


@commands.command()
def impact(
    since: Annotated[str, typer.Option(metavar="REV", help="compare with what was built at a revision")] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="as `dvc exp run -S`; may stand several times")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """List the stages that a build would run now, why, and how long each took last time; nothing is run or written."""
    from retune.pipeline import impact as impacts

    found = impacts.impact(Path(), since, overrides or [])
    typer.echo(json.dumps(impacts.records(found), ensure_ascii=False, indent=2) if as_json else impacts.table(found))


@commands.command()
def repro(
    tasks: Annotated[list[str] | None, typer.Argument(help="tasks to build; default: everything")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="stages at a time; each gets its share of the cores or GPUs")] = 2,
    pull: Annotated[
        bool, typer.Option("--pull", help="first take from the remote what others built of the same inputs")
    ] = False,
) -> None:
    """`dvc repro`, several stages at a time: for a first build, or one on several GPUs."""
    from retune.pipeline import parallel_repro

    parallel_repro.repro(tasks or [], jobs, pull)


@commands.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="models and tasks; default: everything")] = None,
    without_bases: Annotated[
        bool, typer.Option("--without-bases", help="leave pretrained checkpoints out, which `dvc repro` fetches itself")
    ] = False,
    remote: Annotated[str | None, typer.Option("--remote", "-r", help="default: the default remote")] = None,
) -> None:
    """Get built outputs from the remote, as this commit's dvc.lock names them; how many bytes is said before.

    A model comes with all that it needs to predict, a task with its data, models and results.
    """
    from retune.pipeline import remote as remotes

    remotes.pull(names or [], without_bases, remote, typer.echo)


@commands.command()
def push(
    remote: Annotated[str | None, typer.Option("--remote", "-r", help="default: the default remote")] = None,
) -> None:
    """Send what was built to the remote, so that no other clone has to build it again."""
    from retune.pipeline import remote as remotes

    remotes.push(remote, typer.echo)


@commands.command()
def show(name: Annotated[str, typer.Argument(help="a model, a task or a role under `bases`")]) -> None:
    """Print what a model, a task or a base really gets, defaults included."""
    from retune.errors import unknown
    from retune.pipeline.resolve import resolve

    resolved = resolve(Path()).resolved
    parts = ("models", "tasks", "bases")
    found = {part: {name: resolved[part][name]} for part in parts if name in resolved[part]}
    if not found:
        raise RetuneError(unknown("model, task or base", name, [known for part in parts for known in resolved[part]]))
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


@commands.command()
def pin(name: Annotated[str, typer.Argument(help="an entry of data/catalog.yaml or models/catalog.yaml")]) -> None:
    """Write the commit that a hub revision means today into the catalog."""
    from retune.sources.pin import pin as pin_entry

    typer.echo(pin_entry(name))


@commands.command()
def predict(
    model: Annotated[str, typer.Argument(help="a built model")],
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
    from retune import inference, params, predict_file

    if form not in (None, "csv", "jsonl", "contest"):
        raise RetuneError(f"--format {form}: take csv, jsonl or contest")
    loaded = inference.load(Path("models") / model)
    task = params.load().tasks.get(loaded.spec.task, {})
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


@commands.command()
def score(
    model: Annotated[str, typer.Argument(help="a built model of kind scoring")],
    document: Annotated[str, typer.Argument(help="a text, or a file that holds one")],
    dimensions: Annotated[str, typer.Option(help="A,B,...; default: all")] = "",
) -> None:
    """Score one document: for each dimension the score, its expected value, reason and reasoning, as JSON."""
    from retune import inference

    text = Path(document).read_text(encoding="utf-8") if _is_file(document) else document
    found = inference.load(Path("models") / model).score(text, _listed(dimensions) or None)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


@commands.command()
def align(
    model: Annotated[str, typer.Argument(help="a built model of kind pair")],
    question: Annotated[str, typer.Argument(help="the first text")],
    chunk: Annotated[str, typer.Argument(help="the second text")],
) -> None:
    """Compare two texts: label, its answer in the prompt, probability and reasoning, as JSON."""
    from retune import inference

    found = inference.load(Path("models") / model).align(question, chunk)
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _is_file(text: str) -> bool:
    """Whether an argument names a file; a long text is no path."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


@commands.command()
def ask(model: Annotated[str, typer.Argument(help="a built model")]) -> None:
    """Label what is typed, a text a line (a pair: two): the label, and the likeliest three; an empty line ends."""
    from retune import inference

    loaded = inference.load(Path("models") / model)
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


@commands.command()
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


@commands.command()
def curve(
    task: Annotated[str, typer.Argument(help="a task that experiments built with several `data_ratio`s")],
    metric: Annotated[str | None, typer.Option(help="of the test split; default: the primary one")] = None,
) -> None:
    """Draw test metric and training cost against the share of the training data, over the experiments of DVC."""
    from retune.report import learning_curve

    found = learning_curve.read(task, metric)
    typer.echo(learning_curve.table(found))
    typer.echo(f"curves: {learning_curve.draw(found)}")


@commands.command()
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


@commands.command()
def export(
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
    from retune.errors import unknown
    from retune.llm import export_rows

    known = params.load().tasks
    if task not in known:
        raise RetuneError(unknown("task", task, list(known)))
    folder = Path("data/splits") / task
    counts = export_rows.export(task, known[task], folder, form, out, split or SPLITS, thinking)
    for file, rows in counts.items():
        typer.echo(f"{out / file}: {rows:,} rows")


commands.command()(verify)
commands.command()(provenance)

if __name__ == "__main__":
    app()
