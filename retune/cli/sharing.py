"""Commands that bring built outputs here and hand them on: remotes, hubs, rows for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retune.cli import completion, printing
from retune.cli.printing import AsJson
from retune.errors import RetuneError, unknown


def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="models and tasks; default: everything", autocompletion=completion.models_and_tasks),
    ] = None,
    without_bases: Annotated[
        bool, typer.Option("--without-bases", help="leave pretrained checkpoints out, which `dvc repro` fetches itself")
    ] = False,
    remote: Annotated[str | None, typer.Option("--remote", "-r", help="default: the default remote")] = None,
    as_json: AsJson = False,
) -> None:
    """Get built outputs from the remote, as this commit's dvc.lock names them; how many bytes is said before.

    A model comes with all that it needs to predict, a task with its data, models and results.

    Example: `retune pull intent_encoder`
    """
    from retune.pipeline import remote as remotes

    found = remotes.pull(names or [], without_bases, remote, printing.say(as_json))
    if as_json:
        typer.echo(printing.document(found))


def push(
    remote: Annotated[str | None, typer.Option("--remote", "-r", help="default: the default remote")] = None,
    as_json: AsJson = False,
) -> None:
    """Send what was built to the remote, so that no other clone has to build it again.

    Example: `retune push --remote team`
    """
    from retune.pipeline import remote as remotes

    found = remotes.push(remote, printing.say(as_json))
    if as_json:
        typer.echo(printing.document(found))


def publish(
    name: Annotated[str, typer.Argument(help="a folder of exports/", autocompletion=completion.exports)],
    to: Annotated[str, typer.Option(help="hf:OWNER/NAME or ms:OWNER/NAME")],
    public: Annotated[bool, typer.Option("--public", help="for everybody; default: private")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list files, sizes and where to; send nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Send an export to the Hugging Face hub or ModelScope: private, and only with the proof that it answers alike.

    The token is read from HF_TOKEN or MODELSCOPE_API_TOKEN.

    Example: `retune publish intent_encoder --to hf:team/intent --dry-run`
    """
    from retune.exports import publish as publishing

    found = publishing.publish(name, to, public, dry_run, printing.say(as_json))
    if as_json:
        typer.echo(printing.document(found))


def rows(
    task: Annotated[str, typer.Argument(help="a task whose splits are built", autocompletion=completion.tasks)],
    out: Annotated[Path, typer.Option(help="folder that gets a file for each split")],
    form: Annotated[str, typer.Option("--format", help="sharegpt, alpaca, or jsonl (the table as it is)")] = "sharegpt",
    split: Annotated[list[str] | None, typer.Option(help="train, dev, calibration or test; default: all")] = None,
    thinking: Annotated[
        bool | None,
        typer.Option(help="reasoning between `<think>` tags before the answer; default: where rows have any"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a task's rows as an LLM is trained on them, for LLaMA-Factory (with dataset_info.json) and others.

    Example: `retune rows alignment --out rows/ --format sharegpt`
    """
    from retune import params
    from retune.data.split import SPLITS
    from retune.llm import export_rows

    known = params.load().tasks
    if task not in known:
        raise RetuneError(unknown("task", task, list(known)))
    folder = Path("data/splits") / task
    counts = export_rows.export(task, known[task], folder, form, out, split or SPLITS, thinking)
    said = "\n".join(f"{out / file}: {count:,} rows" for file, count in counts.items())
    printing.put({"files": {str(out / file): count for file, count in counts.items()}}, said, as_json)


def export() -> None:
    """Say what took the place of a command that wrote rows."""
    raise RetuneError(
        "rows are written by `retune rows TASK --out FOLDER`; a model is exported by an entry of `exports` in "
        "params.yaml and `dvc repro export@NAME` (docs/exports.md)"
    )
