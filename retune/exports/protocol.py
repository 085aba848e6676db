"""What each form of export offers, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from retune.data import kinds
from retune.params import Params

if TYPE_CHECKING:
    import polars as pl

    from retune.learners.protocols import Predictor


PLAIN = Params(device="cpu", dtype="float32", attention="auto", threads=0)
"""Where an export is written and compared: the numbers of other places differ by their rounding alone."""


@dataclass(frozen=True)
class Built:
    """A built model, as an export finds it in its project.

    `folder` and `base`: its folder below models/ and that of its base; `spec`: what it was trained by; `fitted`: what
    calibrate fitted; `given`: the entry of `exports` in params-resolved.json, with the options of the form; `metrics`:
    those of the test split with their intervals.
    """

    name: str
    folder: Path
    base: Path
    spec: Params
    fitted: dict[str, Any]
    given: Params
    metrics: dict[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of texts that its rows have."""
        return tuple(kinds.of(self.spec.kind).TEXTS)


@dataclass(frozen=True)
class Exported:
    """What `write` says of the folder that it wrote.

    `form`: what the folder is to its ecosystem, as `skops`, `transformers`, `cross-encoder`; `opener`: the script of
    retune/exports/openers that answers with it; `library`, `tag`, `use`: `library_name` and `pipeline_tag` of its hub
    card, and lines of Python that run as they are inside of the folder; `fitted`: what of the calibration is left to be
    applied to the folder's own answers (temperature 1 where the weights have it in them); `more`: further keys of
    export.json; `dtype`: of its weights, or the coarser numbers in which training computed (`parity.TOLERANCE`);
    `note`: what its card says beside.
    """

    form: str
    opener: str
    library: str
    tag: str
    use: list[str]
    fitted: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    note: str = ""


def decided(built: Built) -> list[str]:
    """Lines of Python that make a pair's `label` of its `probability`; none for a model without a threshold."""
    if "threshold" not in built.fitted:
        return []
    return [f"label = {tuple(built.spec.labels)!r}[int(probability >= {built.fitted['threshold']!r})]"]


class Form(Protocol):
    """A module of this package that exports the models of some learners.

    One that can tell more than `difference` where parity fails has `explain` as well (causal_lm).
    """

    def write(self, built: Built, out: Path, /) -> Exported:
        """Write the folder of the ecosystem into `out`: weights, config, tokenizer."""

    def load(self, folder: Path, card: Params, hardware: Params, /) -> Predictor:
        """Read what `write` wrote; its predictions are those before the calibration `fitted` of the card."""

    def token_ids(self, predictor: Predictor, rows: pl.DataFrame, /) -> list[list[int]] | None:
        """Token ids of each row as the model itself reads them; None where it has no tokens."""
