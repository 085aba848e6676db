"""The typed shape of `exports` in params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from retune.pipeline.schema.catalog import Strict


class Export(Strict):
    """A model that is handed on as a folder exports/NAME, with proof that it answers as the model does."""

    model: str = Field(description="an entry of `models`")
    task: str = Field(description="the model's `task`, which DVC can't look up")
    base: str = Field(description="the model's `base`, likewise")
    rows: Annotated[int, Field(ge=64)] = Field(
        64, description="calibration rows that the exported folder must answer as the model does; of fewer, all"
    )
    merge: bool | None = Field(
        None, description="llm: adapter and base as one model, of numbers `dtype`; default: of a base in 8 or 4 bits"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="llm, of merged weights; float32: the model's answers; the others: half the size, each weight "
        "rounded once (docs/decision-models.md has what that costs)",
    )
    decision: bool = Field(False, description="llm: a decision model of transformers (docs/decision-models.md)")
    onnx: Literal["float32", "int8"] | None = Field(
        None, description="encoder and embedder: as ONNX, in full precision or with 8-bit weights (extra `onnx`)"
    )
    base_model: str | None = Field(
        None, description="the base's name on the hub, for the card, where the catalog has no `repo` of it"
    )
    license: str | None = Field(
        None, description="for the card; default: the base's, and the data's where a model has no base"
    )
    language: list[str] = Field(default_factory=list, description="for the card: zh, en, ...")
    datasets: list[str] = Field(default_factory=list, description="for the card: data sets by their names on the hub")
