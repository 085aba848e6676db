"""The sections of params.yaml that name an OpenAI-compatible endpoint: a model of learner `api`, and a task's judge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from retune.pipeline.schema.catalog import Strict

Url = Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")]

URL = "address of the endpoint without `/chat/completions`; most end with /v1"
MODEL = "name of the model there"
LENGTH = "length of an answer, thoughts included"


class Endpoint(Strict):
    """How an endpoint is asked; its key is in the environment (RETUNE_API_KEY, or OPENAI_API_KEY), never here."""

    url: Url | None = Field(None, description=URL)
    model: str | None = Field(None, description=MODEL)
    concurrency: Annotated[int, Field(ge=1)] = Field(8, description="requests under way at a time")
    requests_per_minute: Annotated[float, Field(gt=0)] | None = Field(None, description="pace; null: no limit")
    retries: Annotated[int, Field(ge=0)] = Field(
        5, description="further attempts after 429, 5xx or a timeout, with growing pauses (or as Retry-After says)"
    )
    timeout: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds for one attempt")
    max_tokens: Annotated[int, Field(ge=1)] = Field(32, description=LENGTH)
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="of the answers; 0: the likeliest one")
    price_input: Annotated[float, Field(ge=0)] = Field(0.0, description="of a million tokens of prompts")
    price_output: Annotated[float, Field(ge=0)] = Field(0.0, description="of a million tokens of answers")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request, e.g. {seed: 1}; null takes a field out"
    )


class Api(Endpoint):
    """The endpoint that answers a task's prompt."""

    protocol: Literal["chat", "decision"] = Field(
        "chat",
        description="chat: the prompt goes to url/chat/completions; decision: a typed question to url/systemone, as "
        "`transformers serve` answers it (docs/decision-models.md)",
    )
    logprobs: Literal["auto", "always", "never"] = Field(
        "auto",
        description="read labels by the probability of the first token; auto: where that tells answers apart",
    )


class Judge(Endpoint):
    """The endpoint that grades written reasons (retune.evaluation.judge)."""

    url: Url = Field(description=URL)
    model: Annotated[str, Field(min_length=1)] = Field(description=MODEL)
    max_tokens: Annotated[int, Field(ge=1)] = Field(1024, description=LENGTH)
    rows: Annotated[int, Field(ge=1)] = Field(50, description="test rows, chosen by hash, whose reasons are graded")
    gold: bool = Field(True, description="grade the gold reasons of these rows as well, to compare")
