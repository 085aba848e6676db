"""A model from Python: `retune.load("models/intent_llm").classify(["我想查一下话费"])`.

Its probabilities are calibrated and its decisions are those of the report: the temperature and the threshold come from
data/calibrations. A folder models/NAME stays in its project, where its base and its calibration are; a folder
exports/NAME has all of it, and answers anywhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune import exports, learners, params
from retune.data import kinds, labels
from retune.errors import RetuneError, unknown
from retune.exports.decisions import decide, expect, judge
from retune.exports.folder import CARD, read_card
from retune.params import Params
from retune.pipeline.shared_outputs import NEED_BASE
from retune.training import provenance

if TYPE_CHECKING:
    from retune.learners.protocols import Predictor

log = logging.getLogger("retune")


@dataclass(frozen=True)
class Model:
    """A model in memory: its resolved section, its learner's predictor, and what was fitted on the calibration rows.

    `folder`: where it was read, models/NAME of a project or an export.
    """

    name: str
    spec: Params
    predictor: Predictor
    fitted: dict[str, Any]
    folder: Path

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(kinds.of(self.spec.kind).TEXTS)

    def classify(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """{label, probability} of each text, in order, by one batched prediction; for models that read one text."""
        if len(self.texts) != 1:
            raise RetuneError(f"{self.name} reads {' and '.join(self.texts)}; call predict([{{...}}]) with both")
        found = self.predict(pl.DataFrame({self.texts[0]: list(texts)}, schema={self.texts[0]: pl.String}))
        return found.select("label", "probability").to_dicts()

    def similar(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """{label, probability} of each pair of texts, in order, by one batched prediction; for kind pair."""
        self._of_kind("pair", "similar")
        columns = {name: [pair[place] for pair in pairs] for place, name in enumerate(self.texts)}
        found = self.predict(pl.DataFrame(columns, schema=dict.fromkeys(self.texts, pl.String)))
        return found.select("label", "probability").to_dicts()

    def rerank(self, query: str, documents: Sequence[str]) -> list[dict[str, Any]]:
        """{document, place (among `documents`), score, relevance} of each document, the best first; for kind ranking.

        `relevance` is the score on the scale of the judgements, 0 to 1, as fitted on the calibration rows.
        """
        self._of_kind("ranking", "rerank")
        rows = [{"query": query, "document": document} for document in documents]
        found = [{"document": rows[i]["document"], "place": i, **one} for i, one in enumerate(self.predict(rows))]
        return sorted(found, key=lambda one: (-one["score"], one["place"]))

    def embed(self, texts: Sequence[str], side: str = "query") -> np.ndarray:
        """Unit vectors of texts, float32 [texts, width]; for learner embedder.

        `side`, of kind ranking: `query` or `document`, which many embedders read with prefixes of their own.
        """
        if self.spec.learner != "embedder":
            raise RetuneError(f"{self.name} is of learner {self.spec.learner}; embed is for embedders")
        from retune.encoders.bi_encoder import DistinctTexts

        own: Any = self.predictor
        prefixes = getattr(own, "prefixes", None) or {"query": own.prefix, "document": own.prefix}
        if side not in prefixes:
            raise RetuneError(unknown("side", side, list(prefixes)))
        distinct = DistinctTexts(own.tokenizer, [pl.Series(texts, dtype=pl.String)], prefixes[side], own.max_length)
        if not distinct.encoded:
            return np.zeros((0, own.model.encoder.config.hidden_size), dtype=np.float32)
        found: np.ndarray = distinct.vectors(own.model, own.chosen)[distinct.places[0]]
        return found

    def origin(self) -> dict[str, Any]:
        """Where it comes from: of a project commit, data, parameters, packages, machine (as `retune provenance`).

        Of an export what its export.json says of these.
        """
        if (self.folder / CARD).is_file():
            card = read_card(self.folder)
            return {"model": card.name, **card.provenance, "parameters": card.spec}
        from retune.verify import origin

        return origin.of(self.folder.absolute().parent.parent, self.name)

    def _of_kind(self, kind: str, method: str) -> None:
        if self.spec.kind != kind:
            raise RetuneError(f"{self.name} is of kind {self.spec.kind}; {method} is for kind {kind}")

    def align(self, question: str, chunk: str) -> dict[str, Any]:
        """{label, answer (its text in the prompt), probability, reasoning} of a pair; without thinking it is None."""
        self._of_kind("pair", "align")
        (found,) = self.predict([dict(zip(self.texts, (question, chunk), strict=True))])
        return self.alignment(found)

    def alignment(self, found: dict[str, Any]) -> dict[str, Any]:
        """What `align` says of a predicted row."""
        answer = self.spec.get("prompt", {}).get("answers", {}).get(found["label"], found["label"])
        said = {"label": found["label"], "answer": answer, "probability": found["probability"]}
        return said | {"reasoning": found.get("reasoning")}

    def score(self, document: str, dimensions: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """{dimension: {score, expected, reason, reasoning}} of a document, by one batch; default: all dimensions.

        `score` is the whole number that the model wrote and gives its reason for, or else the likeliest one; `expected`
        the mean of its calibrated distribution over the scores. Reason and reasoning are None
        where the model writes none.
        """
        self._of_kind("scoring", "score")
        names = list(self.spec.dimensions) if dimensions is None else list(dimensions)
        found = self.predict([{"document": document, "dimension": name} for name in names])
        return {name: self.scored(row) for name, row in zip(names, found, strict=True)}

    def scored(self, row: dict[str, Any]) -> dict[str, Any]:
        """What `score` says of the predicted row of a dimension."""
        written = row.get("generated_label")
        likely = {label: row[f"prob_{label}"] for label in self.spec.labels if f"prob_{label}" in row}
        score = int(written or max(likely, key=likely.__getitem__)) if written or likely else round(row["score"])
        expected = sum(int(label) * chance for label, chance in likely.items()) if likely else row["score"]
        said = {name: row.get(name) for name in ("reason", "reasoning")}
        return {"score": score, "expected": expected, **said}

    def predict(self, rows: Any) -> Any:
        """Columns label, probability (of that label), prob_LABEL for each label, truncated, and `raw` of an endpoint.

        Of kind scoring: score (as in the report) instead of label and probability. Of kind ranking: score
        and relevance. A model that thinks also gives
        generated_label, reasoning and, of kind scoring, reason. `rows` is a table (polars, pandas) with the columns
        `texts`, or a list of dicts, which gives a list of dicts; order and number of the rows are kept. An answer that
        names no label (learner `api`) has nulls. Raises `RetuneError` for a missing column, for an empty text and for
        an unknown dimension.
        """
        table = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows)
        for column in self.texts if len(table) else ():
            if column not in table.columns:
                raise RetuneError(f"{self.name} reads `{column}`, but the rows have {', '.join(table.columns)}")
            empty = table.select(pl.col(column).cast(pl.String).fill_null("").str.strip_chars() == "").to_series()
            if empty.any():
                raise RetuneError(f"row {empty.arg_max()} (from 0) has no `{column}`; leave it out or fill it")
        texts = [(pl.col if column in table.columns else pl.lit)(column) for column in self.texts]
        frame = table.select(pl.int_range(pl.len()).cast(pl.String).alias("id"), *(t.cast(pl.String) for t in texts))
        for name in frame["dimension"].unique() if "dimension" in self.texts else ():
            if name not in self.spec.dimensions:
                raise RetuneError(unknown("dimension", name, self.spec.dimensions, f" of {self.name}"))
        decided = {"scoring": expect, "ranking": judge}.get(self.spec.kind, decide)
        predictions = self.predictor.predict(frame) if len(frame) else self._nothing()
        found = decided(predictions, self.fitted, self.spec.labels)
        return found.to_dicts() if isinstance(rows, list) else found

    def _nothing(self) -> pl.DataFrame:
        """The predictions of no row."""
        probabilities = dict.fromkeys(labels.names(len(self.spec.labels)), pl.Float64)
        return pl.DataFrame(schema={"score": pl.Float64, **probabilities, "truncated": pl.Boolean})


def load(folder: str | Path) -> Model:
    """The model of a folder `models/NAME` of a project, or of an exported folder, which needs no project.

    A line of warning says where it was built otherwise than it is used here, in what can change its answers.
    Raises `RetuneError` for an unknown model, and for one that is not built or not calibrated.
    """
    folder = Path(folder)
    if (folder / CARD).is_file():
        return _exported(folder)
    root, name = folder.absolute().parent.parent, folder.name
    file = folder / "spec.json"
    if not file.is_file():
        raise _absent(root, name)
    spec = params.load(file)
    fitted = root / f"data/calibrations/{spec.task}/{name}.json"
    if not fitted.is_file():
        raise RetuneError(
            f"{fitted.relative_to(root)} is missing: `retune pull {name}` gets it, or `dvc repro calibrate@{name}`"
        )
    base = root / "models/bases" / spec.base
    if spec.learner in NEED_BASE and not base.is_dir():
        repro = f"dvc repro download_base@{spec.base}"
        raise RetuneError(f"{base.relative_to(root)} is missing: `retune pull {name}` gets it, or `{repro}`")
    predictor = learners.load(spec, folder, base, spec.get("hardware", Params()), _generation(root, name))
    if said := provenance.warning(folder, learners.package(spec), predictor):
        log.warning("%s", said)
    return Model(name, spec, predictor, json.loads(fitted.read_text(encoding="utf-8")), folder)


def _exported(folder: Path) -> Model:
    card = read_card(folder)
    predictor = exports.load(folder, card, card.spec.get("hardware", Params()))
    return Model(card.name, card.spec, predictor, card.calibration, folder)


def _generation(root: Path, name: str) -> Params | None:
    """How a model writes, as params-resolved.json says, for those that do."""
    resolved = root / params.RESOLVED
    return params.load(resolved).predictions.get(name, {}).get("generation") if resolved.is_file() else None


def _absent(root: Path, name: str) -> RetuneError:
    """Why there is no such model: it is declared and not built, or unknown."""
    built = {file.parent.name for file in (root / "models").glob("*/spec.json")}
    resolved = root / params.RESOLVED
    declared = set(params.load(resolved).models) if resolved.is_file() else set()
    if name in declared:
        return RetuneError(f"the model {name} is not built: run `dvc repro calibrate@{name}`")
    return RetuneError(unknown("model", name, sorted(built | declared)))
