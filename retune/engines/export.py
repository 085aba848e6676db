"""An exported LLM as a server needs it: where its weights, its adapter and its tokenizer are, and in what numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.exports import hashes
from retune.exports.decision import ADAPTER
from retune.exports.folder import CARD, read_card
from retune.exports.llm import BASE
from retune.learners.llm.task_prompt import prepare

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt
    from retune.params import Params

TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class Export:
    """A folder of one of the forms `adapter`, `merged`, `decision`."""

    folder: Path
    card: Params

    @property
    def name(self) -> str:
        """What requests call it."""
        return str(self.card.name)

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter; None: it is merged into the weights."""
        if self.card.reads.merged:
            return None
        return self.folder / ADAPTER if self.card.form == "decision" else self.folder

    @property
    def hub(self) -> tuple[str, str] | None:
        """Repository and commit of the base on the Hugging Face hub, where it is not in the folder."""
        found = self.card.reads.base
        return (str(found[0]), str(found[1])) if found else None

    @property
    def weights(self) -> Path | None:
        """The folder of the base, or of the merged model; None: it is on the hub."""
        if self.hub:
            return None
        return self.folder / BASE if self.card.form == "adapter" else self.folder

    @property
    def template(self) -> Path | None:
        """The file of the chat template, where the tokenizer has one."""
        file = self.folder / TEMPLATE
        return file if file.is_file() else None

    @cached_property
    def chat(self) -> ChatPrompt:
        """The prompt of the training, by the folder's own tokenizer."""
        return prepare(self.card.spec, self.folder)

    def config(self) -> dict[str, Any]:
        """config.json of the weights; empty where they are on the hub."""
        return {} if self.weights is None else _json(self.weights / "config.json")

    def adapter_config(self) -> dict[str, Any]:
        """What peft wrote of the adapter; empty where it is merged."""
        return {} if self.adapter is None else _json(self.adapter / "adapter_config.json")

    def base(self) -> dict[str, str]:
        """What tells its base from others: repository and commit, or the SHA-256 of config and weights."""
        if self.weights is None:
            return dict([self.hub or ("", "")])
        files = [self.weights / "config.json", *sorted(self.weights.glob("*.safetensors"))]
        return {file.name: hashes.sha256(file) for file in files}


def read(folder: Path) -> Export:
    """The export in a folder. Raises `RetuneError` for one that is no LLM, and for a model that is no export."""
    if not (folder / CARD).is_file():
        raise RetuneError(_no_export(folder))
    card = read_card(folder)
    if card.learner != "llm":
        raise RetuneError(f"{folder} is of learner {card.spec.learner}, and engines serve LLMs: leave --engine out")
    return Export(folder.absolute(), card)


def _no_export(folder: Path) -> str:
    name = folder.name
    if (folder / "spec.json").is_file():
        spec = _json(folder / "spec.json")
        return (
            f"an engine takes an export, and {folder} is a model of the project: declare `exports: {{{name}: "
            f"{{model: {name}, task: {spec['task']}, base: {spec['base']}}}}}` in params.yaml, then "
            f"`dvc repro export@{name}` and serve exports/{name}"
        )
    return f"there is no export in {folder}: it has no {CARD}"


def one_base(exports: list[Export]) -> None:
    """Raise `RetuneError` unless one server can answer for all: adapters over the same base, or one model."""
    if len(exports) == 1:
        return
    if merged := next((one for one in exports if one.adapter is None), None):
        raise RetuneError(f"{merged.name} is merged, a model of its own: serve it alone, or export adapters")
    first, *others = exports
    base = first.base()
    if other := next((one for one in others if one.base() != base), None):
        raise RetuneError(
            f"{other.name} and {first.name} stand on different bases, and a server holds one: start one for each"
        )


def _json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
