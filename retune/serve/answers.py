"""What answers hold: for the OpenAPI document; they are written as they are."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Embedding(BaseModel):
    """A vector of length 1."""

    model: str
    embedding: list[float]


class EmbeddingList(BaseModel):
    """A vector of length 1 of each text, in their order."""

    model: str
    embeddings: list[list[float]]


class Score(BaseModel):
    """A score: the cosine of an embedder, the raw score of a reranker; of rankings with the relevance it stands for."""

    model: str
    score: float
    relevance: float | None = Field(None, description="0 to 1, as fitted on the calibration rows")


class Scores(BaseModel):
    """The scores of the documents, in their order."""

    model: str
    scores: list[float]
    relevances: list[float] | None = Field(None, description="0 to 1, as fitted on the calibration rows")


class Label(BaseModel):
    """A decision at the fitted threshold; `label` is null where an endpoint named none, and where it abstained."""

    label: str | None
    probability: float | None
    truncated: bool = Field(description="whether the text was cut to the length of the training")
    probabilities: dict[str, float] | None = None
    abstained: bool | None = Field(None, description="the label is null, since the model is not sure enough of it")
    would_be: str | None = Field(None, description="the label that it would give")
    none_of_these: bool | None = Field(None, description="the text is unlike those of any label")


class Labels(BaseModel):
    """A decision for each text or pair, in their order."""

    model: str
    results: list[Label]


class Alignment(BaseModel):
    """Whether a text answers a question."""

    model: str
    label: str | None
    answer: str | None = Field(description="the label as the prompt of the model writes it")
    probability: float | None
    reasoning: str | None
    abstained: bool | None = None
    would_be: str | None = None


class Dimension(BaseModel):
    """A score and what the model says of it."""

    score: int
    expected: float
    reason: str | None
    reasoning: str | None


class Assessment(BaseModel):
    """A score for each dimension."""

    model: str
    dimensions: dict[str, Dimension]


class OpenAIEmbeddings(BaseModel):
    """As OpenAI answers."""

    object: str
    model: str
    data: list[dict[str, Any]]
    usage: dict[str, int]


class Ranking(BaseModel):
    """As Cohere and Jina answer, the best document first."""

    id: str
    model: str
    results: list[dict[str, Any]]
    usage: dict[str, int]
    meta: dict[str, Any]


class Decisions(BaseModel):
    """As `transformers serve` answers."""

    model: str
    answers: dict[str, dict[str, Any]]
    usage: dict[str, int]
