"""Predict by all members of an ensemble, whose folders lie beside its own, and take the mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from retune import learners, params
from retune.errors import RetuneError
from retune.evaluation import mean_answers
from retune.params import Params

if TYPE_CHECKING:
    from retune.learners.protocols import Predictor


class Ensemble:
    """The members in memory; `predict` asks one after the other."""

    def __init__(self, members: list[Predictor], labels: list[str]) -> None:
        self.members, self.labels = members, labels

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label and prob_0 .. prob_K-1 (of kind ranking: score), truncated for the rows of `frame`."""
        return mean_answers.mean([one.predict(frame) for one in self.members], self.labels)


def load(model_dir: Path, base: Path, options: Params | None = None) -> Ensemble:
    """Read the models that spec.json names. Raises `RetuneError` for one that is not built."""
    spec, members = params.load(model_dir / "spec.json"), []
    for name in spec.members:
        folder = model_dir.parent / name
        if not (folder / "spec.json").is_file():
            raise RetuneError(
                f"{model_dir.name} is the mean of {len(spec.members)} models, and {name} is not here: "
                f"`retune pull {model_dir.name}` gets it, or `dvc repro ensemble@{model_dir.name}`"
            )
        one = params.load(folder / "spec.json")
        members.append(learners.load(one, folder, base, one.get("hardware", Params()), options))
    return Ensemble(members, spec.get("labels", []))
