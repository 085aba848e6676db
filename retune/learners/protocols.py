"""What each learner offers: `fit` in its module `fit`, `load` in its module `predict`; the type checker holds it to it.

Read by the type checker alone, so it counts in no stage's fingerprint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl

    import retune.learners.api.fit
    import retune.learners.api.predict
    import retune.learners.bm25.fit
    import retune.learners.bm25.predict
    import retune.learners.classifier.fit
    import retune.learners.classifier.predict
    import retune.learners.llm.fit
    import retune.learners.llm.predict
    import retune.learners.llm_reranker.fit
    import retune.learners.llm_reranker.predict
    import retune.learners.pair_embedder.fit
    import retune.learners.pair_embedder.predict
    import retune.learners.reranker.fit
    import retune.learners.reranker.predict
    import retune.learners.retriever.fit
    import retune.learners.retriever.predict
    import retune.learners.tfidf_logistic.fit
    import retune.learners.tfidf_logistic.predict
    import retune.learners.tfidf_ridge.fit
    import retune.learners.tfidf_ridge.predict
    from retune.params import Params
    from retune.training.record import Training


class Fit(Protocol):
    """Train a model: `fit` of a learner."""

    def __call__(
        self, spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path, /
    ) -> Training:
        """Fit on `train`, choose by `dev`, write the model into `out`.

        `spec` is the model's resolved section, `base` the folder of its base, `scratch` one for unfinished work, which
        a later call carries on.
        """


class FitFromLast(Protocol):
    """`fit` of a learner whose models may start warm: all that train weights in steps."""

    def __call__(
        self,
        spec: Params,
        train: pl.DataFrame,
        dev: pl.DataFrame,
        base: Path,
        out: Path,
        scratch: Path,
        last: Path | None = None,
        /,
    ) -> Training:
        """The same, from the weights of the model's last version, a folder that `fit` wrote for the same base."""


class Predictor(Protocol):
    """A model in memory."""

    def predict(self, frame: pl.DataFrame, /) -> pl.DataFrame:
        """Columns id, then what the kind of task asks for, then truncated: a row per input row, in its order."""


class Writer(Predictor, Protocol):
    """A model in memory that also writes texts: the learner `llm`."""

    written: int
    """Tokens that it has generated so far."""
    seconds: float
    """The time that this took."""

    def sample(self, frame: pl.DataFrame, /) -> pl.DataFrame:
        """Columns id, samples: several answers of each row, drawn one by one."""

    def generate(self, frame: pl.DataFrame, /) -> pl.DataFrame:
        """Columns id, generated, generated_label: what the model answers, and the label that it names."""


class Load(Protocol):
    """Read a model: `load` of a learner."""

    def __call__(self, model_dir: Path, base: Path, hardware: Params, options: Params | None = None, /) -> Predictor:
        """The model that `fit` wrote into `model_dir`, beside the stage's spec.json.

        `hardware` is the model's section of that name, `options` its section `generation`, for those that write.
        """


if TYPE_CHECKING:
    FITS: list[Fit] = [
        retune.learners.api.fit.fit,
        retune.learners.bm25.fit.fit,
        retune.learners.classifier.fit.fit,
        retune.learners.llm.fit.fit,
        retune.learners.llm_reranker.fit.fit,
        retune.learners.pair_embedder.fit.fit,
        retune.learners.reranker.fit.fit,
        retune.learners.retriever.fit.fit,
        retune.learners.tfidf_logistic.fit.fit,
        retune.learners.tfidf_ridge.fit.fit,
    ]
    FITS_FROM_LAST: list[FitFromLast] = [
        retune.learners.classifier.fit.fit,
        retune.learners.llm.fit.fit,
        retune.learners.llm_reranker.fit.fit,
        retune.learners.pair_embedder.fit.fit,
        retune.learners.reranker.fit.fit,
        retune.learners.retriever.fit.fit,
    ]
    LOADS: list[Load] = [
        retune.learners.api.predict.load,
        retune.learners.bm25.predict.load,
        retune.learners.classifier.predict.load,
        retune.learners.llm.predict.load,
        retune.learners.llm_reranker.predict.load,
        retune.learners.pair_embedder.predict.load,
        retune.learners.reranker.predict.load,
        retune.learners.retriever.predict.load,
        retune.learners.tfidf_logistic.predict.load,
        retune.learners.tfidf_ridge.predict.load,
    ]
    WRITER: type[Writer] = retune.learners.llm.predict.PromptedLlm
