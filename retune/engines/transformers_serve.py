"""`transformers serve`: its command line for an export, and probabilities from its /v1/systemone (transformers 5.23).

It tells probabilities of decision models only (`decision: true` of an export), calibrated as decision.json says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.engines.export import Export
from retune.errors import RetuneError
from retune.exports.decision import CONFIG
from retune.serve.refusal import Unavailable

if TYPE_CHECKING:
    from retune.engines.endpoint import Endpoint

INSTALL = "transformers' server is not installed: `pip install 'transformers[serving]'`"
LEAST = 1e-300


def command(exports: list[Export], host: str, port: int, dtype: str) -> list[str]:
    """The command line of a server for one export. Raises `RetuneError` for several, and for an adapter alone."""
    first, *others = exports
    if others:
        raise RetuneError("`transformers serve` holds one model: start one for each, or take --engine vllm")
    if first.card.form == "adapter":
        raise RetuneError(
            f"{first.name} is an adapter beside its base, which `transformers serve` does not open: export it with "
            "`decision: true` or `merge: true`"
        )
    return ["transformers", "serve", str(first.folder), "--host", host, "--port", str(port), "--dtype", dtype]


def environment() -> dict[str, str]:
    """What it gets beside the environment of this process: it needs no hub."""
    return {"HF_HUB_OFFLINE": "1"}


class Decisions:
    """A decision model that `transformers serve` answers for, one row at a time.

    Its probabilities are calibrated, so only the threshold is left to be applied. Long texts are read whole: nothing
    is cut to the length of the training.
    """

    def __init__(self, export: Export, endpoint: Endpoint) -> None:
        if export.card.form != "decision":
            raise RetuneError(
                f"`transformers serve` tells no probability of {export.name}: export it with `decision: true`, or give "
                "--alone for its own server"
            )
        self.model, self.chat, self.endpoint = str(export.folder), export.chat, endpoint
        self.max_length = self.chat.max_length
        card = json.loads((export.folder / CONFIG).read_text(encoding="utf-8"))
        self.fields, self.questions = list(card["fields"]), dict(card["questions"])

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows."""
        table = np.array([self._ask(row) for row in frame.to_dicts()]).reshape(len(frame), -1)
        return labels.predictions(
            frame["id"], np.log(np.maximum(table, LEAST)), self.chat.labels, np.zeros(len(frame), dtype=bool)
        )

    def _ask(self, row: dict[str, Any]) -> list[float]:
        """The probability of each label."""
        name = row.get("dimension", "answer")
        body = {
            "model": self.model,
            "state": {field: row[field] for field in self.fields},
            "questions": {name: self.questions[name]},
        }
        said = self.endpoint.post("/v1/systemone", body)
        try:
            answer = said["answers"][name]
            found = {str(label): float(chance) for label, chance in answer["probabilities"].items()}
            if "legend" in answer:  # levels of a score count from 0; the legend has their labels
                found = dict(zip(map(str, answer["legend"].values()), found.values(), strict=True))
            return [found[label] for label in self.chat.labels]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Unavailable(502, "the engine answered with no probability of each label") from None
