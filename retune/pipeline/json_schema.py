"""JSON schemas of params.yaml, both catalogs and the prompts, for editors that complete and check YAML by them.

They say what a file can show by itself: keys, types, limits, defaults, meanings. What depends on another key or file is
`retune check`'s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from retune import atomic_file
from retune.pipeline.checks.project import ALLOWED, NEEDED, OF_KINDS
from retune.pipeline.declarations import DATA, MODELS, PARAMS, default_sections
from retune.pipeline.schema.catalog import Checkpoint, Source
from retune.pipeline.schema.params import Params, Prompt

DIALECT = "http://json-schema.org/draft-07/schema#"
"""What editors' YAML servers understand best."""

FOLDER = Path(".retune/schema")
"""Where the schemas are written by default; git ignores it."""

FILES = {
    PARAMS: "params.schema.json",
    DATA: "data-catalog.schema.json",
    MODELS: "models-catalog.schema.json",
    "prompts/*.yaml": "prompt.schema.json",
}
"""File (or glob) of a project -> the name of its schema."""

NAME = r"^[A-Za-z0-9_\-]+$"


def schemas() -> dict[str, dict[str, Any]]:
    """Name of the file -> JSON schema, in the order of `FILES`."""
    return {
        FILES[PARAMS]: _params(),
        FILES[DATA]: _catalog(Source, "data/catalog.yaml: name -> data source"),
        FILES[MODELS]: _catalog(Checkpoint, "models/catalog.yaml: name -> pretrained checkpoint"),
        FILES["prompts/*.yaml"]: _of(Prompt),
    }


def write(folder: Path) -> list[Path]:
    """Write every schema into `folder`, which is made if need be; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in schemas().items():
        with atomic_file.replacing(folder / name) as part:
            part.write_text(json.dumps(schema, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        written.append(folder / name)
    return written


def vscode(folder: Path) -> str:
    """The lines of .vscode/settings.json that name the schemas for the YAML extension of Red Hat."""
    start = "" if folder.is_absolute() else "./"
    named = {f"{start}{(folder / schema).as_posix()}": [pattern] for pattern, schema in FILES.items()}
    return json.dumps({"yaml.schemas": named}, indent=2)


def _of(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$schema": DIALECT, **model.model_json_schema(by_alias=True)}
    _tidy(schema)
    return schema


def _params() -> dict[str, Any]:
    schema = _of(Params)
    definitions = schema["$defs"]
    sections = {name: {"$ref": f"#/$defs/{model.__name__}"} for name, model in default_sections().items()}
    for owner in ("Task", "Model"):
        for name, key in definitions[owner]["properties"].items():
            if name in sections:  # written as a mapping of anything: only the merged section is validated
                null = [{"type": "null"}] if owner == "Model" else []
                said = f"keys of the section `{name}`; each beats the default"
                key.clear()
                key |= {"anyOf": [sections[name], *null], "description": said}
    for name in ("bases", "tasks", "models"):
        schema["properties"][name]["minProperties"] = 1
    return schema


def _catalog(model: type[BaseModel], description: str) -> dict[str, Any]:
    whole = _of(model)
    definitions = whole.pop("$defs", {})
    dialect = whole.pop("$schema")
    kinds = whole["properties"]["kind"]["enum"]
    whole["allOf"] = [_of_kind(kind, sorted(OF_KINDS & whole["properties"].keys())) for kind in kinds]
    return {
        "$schema": dialect,
        "description": description,
        "type": "object",
        "additionalProperties": {"$ref": f"#/$defs/{model.__name__}"},
        "$defs": {**definitions, model.__name__: whole},
    }


def _of_kind(kind: str, fields: list[str]) -> dict[str, Any]:
    """An entry of this kind needs these fields, and may have none of other kinds."""
    needed, more = NEEDED[kind], ALLOWED.get(kind, ())
    others = {name: {"type": "null"} for name in fields if name not in needed and name not in more}
    return {
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": {"required": list(needed), "properties": others},
    }


def _tidy(node: Any) -> None:
    """Take out pydantic's titles, which repeat the keys, and let names be held by their pattern."""
    if isinstance(node, list):
        for one in node:
            _tidy(one)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if list(node.get("patternProperties", ())) == [NAME]:
        node["additionalProperties"] = node.pop("patternProperties")[NAME]
        node["propertyNames"] = {"pattern": NAME}
    for one in node.values():
        _tidy(one)
