"""Commands before the first build: a task from a file, what this machine can build, schemas for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retune.cli.printing import AsJson
from retune.errors import RetuneError


def add_task(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="a file or folder; of official splits train=FILE test=FILE")
    ],
    name: Annotated[str | None, typer.Option(help="of the task; default: from the file's name")] = None,
    kind: Annotated[str | None, typer.Option(help="pair, classification, ranking, scoring")] = None,
    label: Annotated[str | None, typer.Option(help="field with the label, relevance or score")] = None,
    text: Annotated[str | None, typer.Option(help="field with the text, or two: FIRST,SECOND")] = None,
    group: Annotated[str | None, typer.Option(help="field whose rows belong together in one split")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="COLUMN=FIELD of the task's columns (docs/data.md), FIELD+FIELD joins")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="pair: value of the label that means the same")] = None,
    dev: Annotated[str | None, typer.Option(help="file of the official dev split")] = None,
    calibration: Annotated[str | None, typer.Option(help="file of the official calibration split")] = None,
    test: Annotated[str | None, typer.Option(help="file of the official test split")] = None,
    fields: Annotated[str | None, typer.Option(help="NAME,NAME,... of a CSV or TSV file without a header")] = None,
    format: Annotated[str | None, typer.Option(help="csv, tsv, json, jsonl, parquet, xlsx")] = None,
    encoding: Annotated[str | None, typer.Option(help="such as big5; default: UTF-8, else GB18030")] = None,
    separator: Annotated[str | None, typer.Option(help="between the fields of a CSV file")] = None,
    sheet: Annotated[str | None, typer.Option(help="of a workbook")] = None,
    records: Annotated[str | None, typer.Option(help="dotted path to the list of rows in a JSON document")] = None,
    prompt: Annotated[str | None, typer.Option(help="of prompts/, which the task then names")] = None,
    license: Annotated[str | None, typer.Option(help="of the data, shown wherever it is used")] = None,
    write: Annotated[bool, typer.Option("--write", help="write it into data/catalog.yaml and params.yaml")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose a task for a data file: what it holds, the YAML, and rows as each model sees them; see docs/data.md.

    Example: `retune add-task train.csv`
    """
    from retune.propose import command
    from retune.propose.look import Said

    table = {
        "format": format,
        "encoding": encoding,
        "separator": separator,
        "sheet": sheet,
        "records": records,
        "fields": [part.strip() for part in fields.split(",")] if fields else None,
    }
    columns = {}
    for one in column or ():
        named, sign, field = one.partition("=")
        if not sign or not named or not field:
            raise RetuneError(f"--column {one}: give it as COLUMN=FIELD, such as text_a=title")
        columns[named] = {"from": field.split("+"), "join": " "} if "+" in field else field
    official = [(split, file) for split, file in (("dev", dev), ("calibration", calibration), ("test", test)) if file]
    command.run(
        Path(),
        command.Asked(
            files=[*map(command.named, files), *((split, Path(file)) for split, file in official)],
            said=Said(
                kind=kind,
                label=label,
                texts=tuple(part.strip() for part in text.split(",")) if text else (),
                group=group,
                positive=positive,
                columns=columns,
            ),
            name=name,
            table={key: value for key, value in table.items() if value is not None},
            prompt=prompt,
            license=license,
        ),
        write,
        as_json,
        typer.echo,
    )


def doctor(
    as_json: AsJson = False,
) -> None:
    """Check this machine for a build: packages, GPU, memory of each model, disk, hubs, remote; each with its remedy.

    Example: `retune doctor`
    """
    from retune.doctor import command

    raise typer.Exit(command.run(Path(), as_json, typer.echo))


def schema(
    out: Annotated[Path, typer.Option(help="the folder to write them to")] = Path(".retune/schema"),
) -> None:
    """Write JSON schemas by which editors complete and check params.yaml, the catalogs and the prompts.

    Example: `retune schema`
    """
    from retune.pipeline import json_schema

    for file in json_schema.write(out):
        typer.echo(file)
    typer.echo("\nVS Code with the YAML extension (redhat.vscode-yaml): put this into .vscode/settings.json")
    typer.echo(json_schema.vscode(out))
    typer.echo(
        "\nOther editors with yaml-language-server: a line like this one on top of each file (a comment rebuilds "
        f"nothing)\n# yaml-language-server: $schema={out / json_schema.FILES['params.yaml']}"
    )
