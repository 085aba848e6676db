"""Small built models as an export finds them, their folders, and the scripts that open these, run in this process."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl

from retune import exports, learners, params
from retune.exports import folder as folders
from retune.exports import parity
from retune.exports.protocol import Built
from retune.params import Params, loads
from tests.support import encoder_fit, ranking_fit
from tests.support.tiny_encoder import pairs, tiny_encoder

LINEAR = {"analyzer": "both", "ngrams": [1, 2], "min_df": 1, "c": 1.0, "class_weights": "none"}
METRICS = {
    "rows": 9,
    "f1": {"value": 0.75, "low": 0.5, "high": 0.875},
    "auc": {"value": 0.5, "low": None},
}


def spec(learner: str, kind: str, **more: Any) -> Params:
    """The spec of a small model that learns little: its numbers only have to be its own."""
    if kind == "ranking":
        found: Params = ranking_fit.spec_of(learner, epochs=1, eval_steps=4) | {"labels": ["0", "1"]}
    else:
        found = encoder_fit.spec_of(None, epochs=1, eval_steps=4, truncation="middle", select="loss")
        found |= {"kind": kind, "learner": learner, "base": "encoder", "base_name": "tiny"}
    if learner == "linear":
        found |= {"linear": Params(LINEAR)}
        del found["training"]
    return loads(json.dumps(found | more))


def model(place: Path, spec: Params, rows: pl.DataFrame, fitted: dict[str, Any], pooler: bool = False) -> Built:
    """Fit a model of `spec` on `rows` into `place`, with a made-up calibration."""
    base, folder = tiny_encoder(place / "base", pooler), place / "model"
    folder.mkdir()
    if pooler:  # the catalog says nothing of pooling, so the checkpoint's own pooler is taken
        source = json.loads((base / "SOURCE.json").read_text())
        del source["pooling"]
        (base / "SOURCE.json").write_text(json.dumps(source))
    (folder / "spec.json").write_text(json.dumps(spec))
    learners.fit(spec, rows, rows, base, folder, place / "scratch")
    entry = {
        "rows": 64,
        "base_model": "owner/tiny",
        "language": ["zh"],
        "datasets": [],
        "confidence": 0.95,
        "base_entry": {"license": "MIT"},
    }
    given = loads(json.dumps({**entry, "source": {"name": "made-up", "license": "none"}}))
    return Built("small", folder, base, params.load(folder / "spec.json"), fitted, given, METRICS)


def kinds() -> dict[str, tuple[Params, pl.DataFrame, dict[str, Any], bool]]:
    """Name -> spec, rows, calibration, and whether the base has a pooler; one of each form."""
    of_pairs, of_ranks = {"temperature": 1.7, "threshold": 0.4}, {"scale": 0.5, "bias": 0.2}
    texts = pairs().select("id", "group", text="text_a", label=pl.col("text_b").str.head(2))
    labels = sorted(texts["label"].unique(), reverse=True)
    documents = pairs().select(
        "id",
        "group",
        document="text_a",
        dimension=pl.Series(["a", "b"] * 32),
        score=pl.Series([1.0, 4.0, 6.0, 9.0] * 16),
    )
    numbers = {"scores": [1, 10], "dimensions": ["a", "b"], "labels": [str(score) for score in range(1, 11)]}
    classes = {"kind": "classification", "labels": labels}
    judged, one = ranking_fit.judged(), {"temperature": 1.7}
    return {
        "pooler": (spec("encoder", "pair"), pairs(), of_pairs, True),
        "mean of a pair": (spec("encoder", "pair"), pairs(), of_pairs, False),
        "mean of a text": (spec("encoder", **classes), texts, one, False),
        "embedder": (spec("embedder", "pair"), pairs(), of_pairs, False),
        "retriever": (spec("embedder", "ranking"), judged, of_ranks, False),
        "reranker": (spec("encoder", "ranking"), judged, of_ranks, False),
        "linear pair": (spec("linear", "pair"), pairs(), of_pairs, False),
        "linear text": (spec("linear", **classes), texts, one, False),
        "linear scores": (
            spec("linear", "scoring", **numbers),
            documents,
            {"temperature": 1.0},
            False,
        ),
    }


def export(built: Built, out: Path) -> Path:
    """Write the folder of a built model, as the stage does, with a made-up parity."""
    out.mkdir()
    written = exports.of(learners.package(built.spec)).write(built, out)
    folders.write_card(built, written, out)
    said = {"rows": 64, "cut": 0, "loader": "made up", "largest_difference": 0.0, "equal_decisions": 1.0}
    folders.write_readme(built, written, said, out)
    return out


def prove(built: Built, out: Path, rows: pl.DataFrame) -> dict[str, Any]:
    """Parity, with the foreign loader in this process: its packages take seconds to import."""
    with patch.object(parity, "answers", answers):
        return parity.prove(built, exports.of(learners.package(built.spec)), out, rows)


def answers(folder: Path, opener: str, rows: pl.DataFrame) -> dict[str, Any]:
    """What a script of retune/exports/openers says."""
    with tempfile.TemporaryDirectory() as place:
        asked, out = Path(place) / "rows.json", Path(place) / "answers.json"
        asked.write_text(json.dumps(rows.to_dicts()))
        script = parity.OPENERS / f"{opener}.py"
        arguments = [str(script), str(folder), str(asked), str(out)]
        with contextlib.chdir(Path.cwd()), patch.object(sys, "argv", arguments):  # a script may go elsewhere
            runpy.run_path(str(script), run_name="__main__")
        found: dict[str, Any] = json.loads(out.read_text())
        return found
