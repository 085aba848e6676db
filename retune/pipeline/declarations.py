"""What a user writes, read and checked key by key: params.yaml, both catalogs and the prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from retune.pipeline.schema.catalog import Checkpoint, Source
from retune.pipeline.schema.export import Export
from retune.pipeline.schema.params import Gate, Model, Params, Prompt, Task
from retune.pipeline.validation import check, concrete, fields, salvage
from retune.pipeline.yaml_file import Document, read

PARAMS, DATA, MODELS, PROMPTS = "params.yaml", "data/catalog.yaml", "models/catalog.yaml", "prompts"


@dataclass
class Project:
    """The valid part of a project's declarations; the documents hold every problem found so far.

    `kinds` are the constants of the task kinds that were asked for (retune.pipeline.kind_constants).
    """

    folder: Path
    documents: dict[str, Document]
    seed: int = 0
    seeds: list[int] = field(default_factory=list)
    strict: bool = True
    bases: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)
    gate: dict[str, Gate] = field(default_factory=dict)
    defaults: dict[str, BaseModel] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Every problem, file by file."""
        return [line for document in self.documents.values() for line in document.problems]

    @property
    def params(self) -> Document:
        """The document of params.yaml."""
        return self.documents[PARAMS]

    def raw(self, name: str) -> dict[str, Any]:
        """A document's data as written; empty where it is not a mapping."""
        return mapping(self.documents[name].data)

    def said(self, *keys: str) -> dict[str, Any]:
        """The mapping at a key path of params.yaml, as written; empty where there is none."""
        found = self.raw(PARAMS)
        for key in keys:
            found = mapping(found.get(key))
        return found


def mapping(value: Any) -> dict[str, Any]:
    """The value, or an empty mapping where it is none."""
    return value if isinstance(value, dict) else {}


def default_sections() -> dict[str, type[BaseModel]]:
    """Name -> schema of the default sections of params.yaml."""
    kinds = {name: concrete(info.annotation)[0] for name, info in fields(Params).items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def load(folder: Path, params: Path | None = None) -> Project:
    """Read and check each file by itself; what depends on more than one is `retune.pipeline.checks.project`'s.

    `params` is read in place of the folder's params.yaml.
    """
    prompts = sorted(file.name for file in (folder / PROMPTS).glob("*.yaml"))
    names = [PARAMS, DATA, MODELS, *(f"{PROMPTS}/{name}" for name in prompts)]
    project = Project(folder, {name: read(folder, name, params if name == PARAMS else None) for name in names})
    document = project.params
    if document.data is not None:
        check(Params, document.data, document)
    data = project.raw(PARAMS)
    project.seed = data["seed"] if type(data.get("seed")) is int else 0
    project.seeds = _seeds(data.get("seeds"))
    project.strict = data.get("strict") is not False
    project.bases = {role: name for role, name in mapping(data.get("bases")).items() if isinstance(name, str)}
    project.tasks = _entries(Task, data.get("tasks"))
    project.models = _entries(Model, data.get("models"))
    project.exports = _entries(Export, data.get("exports"))
    project.gate = _entries(Gate, data.get("gate"))
    for name, schema in default_sections().items():
        project.defaults[name] = salvage(schema, data.get(name, {})) or schema()
    project.sources = _catalog(Source, project.documents[DATA])
    project.checkpoints = _catalog(Checkpoint, project.documents[MODELS])
    for name in prompts:
        prompt = project.documents[f"{PROMPTS}/{name}"]
        if prompt.data is not None and (valid := check(Prompt, prompt.data, prompt)):
            project.prompts[name.removesuffix(".yaml")] = valid
    return project


def _seeds(value: Any) -> list[int]:
    """The seeds of a list that has nothing else in it."""
    listed = value if isinstance(value, list) else []
    return listed if all(type(one) is int and one >= 0 for one in listed) else []


def _entries(schema: type[Any], values: Any) -> dict[str, Any]:
    valid = {name: salvage(schema, value) for name, value in mapping(values).items()}
    return {name: value for name, value in valid.items() if value is not None}


def _catalog(schema: type[Any], document: Document) -> dict[str, Any]:
    if document.data is not None and not isinstance(document.data, dict):
        document.problem((), "must be a mapping from names to entries")
    for name, value in mapping(document.data).items():
        check(schema, value, document, (name,))
    return _entries(schema, document.data)
