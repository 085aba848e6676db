"""A model from Python: `retune.load("models/intent_encoder").classify(["我想查一下话费"])`.

Its probabilities are calibrated and its decisions are those of the report: the temperature and the threshold come from
data/calibrations. A folder models/NAME stays in its project, where its base and its calibration are; a folder
exports/NAME has all of it, and answers anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import polars as pl

from retune import exports, learners
from retune.data import kinds, labels
from retune.errors import RetuneError, unknown
from retune.exports.decisions import decide, expect, judge
from retune.exports.folder import CARD, read_card
from retune.learners.ensemble import predict as ensemble
from retune.params import Params
from retune.pipeline import model_files, revision
from retune.pipeline.revision import Revision
from retune.training import provenance

if TYPE_CHECKING:
    from retune.learners.protocols import Predictor
    from retune.pipeline.model_files import ModelFiles

log = logging.getLogger("retune")

METHODS = {
    "classification": "classify(texts)",
    "pair": "similar(pairs) or align(question, chunk)",
    "scoring": "score(document)",
    "ranking": "rerank(query, documents)",
}
"""Kind of task -> the methods that answer it; `predict(rows)` answers all."""


@dataclass(frozen=True)
class Model:
    """A model in memory: its resolved section, its learner's predictor, and what was fitted on the calibration rows.

    `folder`: where it was read, models/NAME of a project or an export; `revision`: what it came from, if no folder.
    """

    name: str
    spec: Params
    predictor: Predictor
    fitted: dict[str, Any]
    folder: Path
    revision: Revision | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(kinds.of(self.spec.kind).TEXTS)

    def classify(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """{label, probability} of each text, or of each pair of texts, in order, by one batched prediction.

        For kinds classification and pair.
        """
        self._of_kind("classify", "classification", "pair")
        return self._labelled(texts, "classify")

    def similar(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """{label, probability} of each pair of texts, in order, by one batched prediction; for kind pair."""
        self._of_kind("similar", "pair")
        return self._labelled(pairs, "similar")

    def rerank(self, query: str, documents: Sequence[str]) -> list[dict[str, Any]]:
        """{document, place (among `documents`), score, relevance} of each document, the best first; for kind ranking.

        `relevance` is the score on the scale of the judgements, 0 to 1, as fitted on the calibration rows.
        """
        self._of_kind("rerank", "ranking")
        self._several(documents, "documents", "rerank")
        rows = [{"query": query, "document": document} for document in documents]
        found = [{"document": rows[i]["document"], "place": i, **one} for i, one in enumerate(self.predict(rows))]
        return sorted(found, key=lambda one: (-one["score"], one["place"]))

    def embed(self, texts: Sequence[str], side: str = "query") -> np.ndarray:
        """Unit vectors of texts, float32 [texts, width]; for learner embedder.

        `side`, of kind ranking: `query` or `document`, which many embedders read with prefixes of their own.
        """
        if self.spec.learner != "embedder":
            raise RetuneError(
                f"embed is for learner embedder, and {self.name} is of learner {self.spec.learner}: "
                f"call {METHODS[self.spec.kind]}"
            )
        from retune.encoders.bi_encoder import DistinctTexts

        self._several(texts, "texts", "embed")
        own: Any = self.predictor
        prefixes = getattr(own, "prefixes", None) or {"query": own.prefix, "document": own.prefix}
        if side not in prefixes:
            raise RetuneError(unknown("side", side, list(prefixes)))
        _filled(pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}), "text")
        distinct = DistinctTexts(own.tokenizer, [pl.Series(texts, dtype=pl.String)], prefixes[side], own.max_length)
        if not distinct.encoded:
            return np.zeros((0, own.model.encoder.config.hidden_size), dtype=np.float32)
        found: np.ndarray = distinct.vectors(own.model, own.chosen)[distinct.places[0]]
        return found

    @overload
    def align(self, question: str, chunk: str) -> dict[str, Any]: ...
    @overload
    def align(self, question: Sequence[tuple[str, str]]) -> list[dict[str, Any]]: ...
    def align(self, question: Any, chunk: str | None = None) -> Any:
        """{label, answer (its text in the prompt), probability, reasoning} of a pair; without thinking it is None.

        A list of pairs gives a list, by one batched prediction. For kind pair.
        """
        self._of_kind("align", "pair")
        pairs = self._table(question if chunk is None else [(question, chunk)], "align")
        found = [self.alignment(row) for row in self.predict(pairs).to_dicts()]
        return found if chunk is None else found[0]

    def alignment(self, found: dict[str, Any]) -> dict[str, Any]:
        """What `align` says of a predicted row."""
        answer = self.spec.get("prompt", {}).get("answers", {}).get(found["label"], found["label"])
        said = {"label": found["label"], "answer": answer, "probability": found["probability"]}
        return said | {"reasoning": found.get("reasoning")}

    @overload
    def score(self, document: str, dimensions: Sequence[str] | None = None) -> dict[str, dict[str, Any]]: ...
    @overload
    def score(
        self, document: list[str], dimensions: Sequence[str] | None = None
    ) -> list[dict[str, dict[str, Any]]]: ...
    def score(self, document: Any, dimensions: Sequence[str] | None = None) -> Any:
        """{dimension: {score, expected, reason, reasoning}} of a document, by one batch; default: all dimensions.

        `score` is the whole number that the model wrote and gives its reason for, or else the likeliest one; `expected`
        the mean of its calibrated distribution over the scores. Reason and reasoning are None
        where the model writes none. A list of documents gives a list, by one batch. For kind scoring.
        """
        self._of_kind("score", "scoring")
        names = list(self.spec.dimensions) if dimensions is None else list(dimensions)
        documents = [document] if isinstance(document, str) else list(document)
        rows = self.predict([{"document": text, "dimension": name} for text in documents for name in names])
        scored = [self.scored(row) for row in rows]
        found = [
            dict(zip(names, scored[place * len(names) : (place + 1) * len(names)], strict=True))
            for place in range(len(documents))
        ]
        return found[0] if isinstance(document, str) else found

    def origin(self) -> dict[str, Any]:
        """Where it comes from: commit, data, parameters, packages, machine (as `retune provenance`).

        `loaded` says repository, revision and commit of a model that was loaded by them. Of an export elsewhere what
        its export.json says of these.
        """
        from retune.verify import origin

        if self.revision:
            card = read_card(self.folder) if (self.folder / CARD).is_file() else {}
            return origin.at(self.revision, self.name, self.folder, self.spec, card.get("provenance"))
        if (self.folder / CARD).is_file():
            return origin.exported(self.folder, read_card(self.folder))
        return {**origin.of(self.folder.absolute().parent.parent, self.name), "loaded": None}

    def _of_kind(self, method: str, *kinds: str) -> None:
        """Raise an error that names the right method, where `method` is for other kinds."""
        if self.spec.kind not in kinds:
            raise RetuneError(
                f"{method} is for kind {' and '.join(kinds)}, and {self.name} is of kind {self.spec.kind}: "
                f"call {METHODS[self.spec.kind]}"
            )

    def _several(self, given: Any, what: str, method: str) -> None:
        if isinstance(given, str):  # whose letters would be so many texts
            raise RetuneError(f"{method} of {self.name} takes a list of {what}, not one text")

    def _table(self, inputs: Any, method: str) -> pl.DataFrame:
        """Texts or pairs of them as the columns that the model reads."""
        what = "text" if len(self.texts) == 1 else f"pair of {' and '.join(self.texts)}"
        self._several(inputs, f"{what}s" if what == "text" else "pairs", method)
        rows = [(one,) if what == "text" else tuple(one) if isinstance(one, tuple | list) else () for one in inputs]
        for place, row in enumerate(rows):
            if len(row) != len(self.texts) or not all(isinstance(text, str | None) for text in row):
                raise RetuneError(f"{method} of {self.name}: input {place} (from 0) is no {what}")
        return pl.DataFrame(rows, schema=dict.fromkeys(self.texts, pl.String), orient="row")

    def _labelled(self, inputs: Any, method: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            self.predict(self._table(inputs, method)).select("label", "probability").to_dicts()
        )
        return found

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

        Of kind scoring: score (as in the report) instead of label and probability. Of kind ranking: score and
        relevance. A model that thinks also gives generated_label, reasoning and, of kind scoring, reason. `rows` is a
        table (polars, pandas) with the columns `texts`, or a list of dicts, which gives a list of dicts; order and
        number of the rows are kept. An answer that names no label (learner `api`) has nulls. Raises `RetuneError` for a
        missing column, for an empty text and for an unknown dimension.
        """
        table = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows)
        if table.is_empty():
            table = pl.DataFrame(schema=dict.fromkeys(self.texts, pl.String))
        for column in self.texts:
            if column not in table.columns:
                raise RetuneError(f"{self.name} reads `{column}`, but the rows have {', '.join(table.columns)}")
            _filled(table, column)
        texts = [pl.col(column).cast(pl.String) for column in self.texts]
        frame = table.select(pl.int_range(pl.len()).cast(pl.String).alias("id"), *texts)
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


def _filled(table: pl.DataFrame, column: str) -> None:
    """Raise an error for the first row without a text."""
    empty = table.select(pl.col(column).cast(pl.String).fill_null("").str.strip_chars() == "").to_series()
    if empty.any():
        raise RetuneError(f"row {empty.arg_max()} (from 0) has no `{column}`; leave it out or fill it")


def load(folder: str | Path, repo: str | Path | None = None, rev: str | None = None) -> Model:
    """The model of a folder `models/NAME` of a project, or of an exported folder, which needs no project.

    With `rev` (a branch, tag or commit) it is that of another revision of the project; with `repo`, a folder or an
    address of Git, that of another project. `REV:models/NAME` and `REPO@REV:models/NAME` say the same in one word. What
    it needs comes by DVC, once (retune.pipeline.revision), and this code runs it.
    A line of warning says where it was built otherwise than it is used here, in what can change its answers.
    Raises `RetuneError` for an unknown model, and for one that is not built or not calibrated.
    """
    if address := revision.address(str(folder), None if repo is None else str(repo), rev):
        return _of_revision(revision.find(address))
    folder = Path(repo or ".").expanduser() / folder
    if (folder / CARD).is_file():
        return _exported(folder)
    return _model(folder.name, model_files.here(folder), None)


def _of_revision(found: Revision) -> Model:
    try:
        if found.asked.path.startswith("exports/"):
            model = replace(
                _exported(revision.bring(found, {found.asked.path: "export"})[found.asked.path]), revision=found
            )
            if said := model_files.otherwise(found, model.name, model.spec, None):
                log.warning("%s", said)
            return model
        files = model_files.at(found)
        return _model(files.folder.name, files, found)
    except (AttributeError, KeyError, FileNotFoundError) as error:  # what a file of another format lacks
        raise RetuneError(
            f"{found.asked.path} of {found} is of a version of Retune that this one can't read ({error}): check that "
            "revision out to use it, or build the model anew"
        ) from error


def _model(name: str, files: ModelFiles, found: Revision | None) -> Model:
    spec = files.spec
    predictor: Predictor
    if spec.learner == "ensemble":  # in no table of learners: nothing trains it, its members are
        predictor, said = ensemble.load(files.folder, files.base, files.generation), None
    else:
        predictor = learners.load(spec, files.folder, files.base, spec.get("hardware", Params()), files.generation)
        said = provenance.warning(files.folder, learners.package(spec), predictor)
    if found:
        said = model_files.otherwise(found, name, spec, said)
    if said:
        log.warning("%s", said)
    return Model(name, spec, predictor, files.fitted, files.folder, found)


def _exported(folder: Path) -> Model:
    card = read_card(folder)
    predictor = exports.load(folder, card, card.spec.get("hardware", Params()))
    return Model(card.name, card.spec, predictor, card.calibration, folder)
