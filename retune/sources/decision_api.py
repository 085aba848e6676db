"""Typed questions to a decision endpoint: `POST /systemone`, as `transformers serve` answers it.

    {"model": ..., "state": {column: text}, "questions": {"answer": {"type": "choice", "criteria": {label: text}}}}
    {"answers": {"answer": {"choice": ..., "probabilities": {label: probability}}}, "usage": {"input_tokens": ...}}

Cached, paced and asked again like a chat (retune.sources.chat_api, which stages without such a model run, too, so this
is no part of it).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.sources import chat_api
from retune.sources.chat_api import Reply

if TYPE_CHECKING:
    import openai

    from retune.params import Params

QUESTION = "answer"
LEAST = 1e-15


def request(api: Params, row: Mapping[str, str], instructions: str, criteria: Mapping[str, str]) -> dict[str, Any]:
    """One choice among the labels `criteria`, each with its answer's text; `api.options` beat the other fields."""
    question: dict[str, Any] = {"type": "choice", "criteria": dict(criteria)}
    if instructions:
        question["instructions"] = instructions
    fields = {"model": api.model, "state": dict(row), "questions": {QUESTION: question}}
    return {name: value for name, value in (fields | api.options).items() if value is not None}


def ask(api: Params, requests: list[dict[str, Any]]) -> list[Reply]:
    """The replies in order: the chosen label as `text`, in `top` (label in hexadecimal, log-probability) of each.

    Raises `RetuneError` as `chat_api.ask` does.
    """
    keys = [chat_api._digest(api.url, request) for request in requests]
    found = {key: reply for key in dict.fromkeys(keys) if (reply := chat_api._cached(key)) is not None}
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in found}
    if missing:
        asyncio.run(_Session(api, found, "api").run(missing))
    return [found[key] for key in keys]


class _Session(chat_api._Session):
    """One run of requests, whose client is asked for decisions where a chat asks for completions."""

    async def _persist(self, client: Any, request: dict[str, Any]) -> Reply:
        async def create(model: str, messages: dict[str, Any], extra_body: dict[str, Any]) -> Any:
            return await client.post("/systemone", body=messages, cast_to=object)

        asked: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
        return await super()._persist(asked, {"model": request["model"], "messages": request})

    def _said(self, error: openai.APIStatusError) -> str:
        if isinstance(error.body, dict) and "detail" in error.body:  # as FastAPI says what is wrong
            error.body = {"message": str(error.body["detail"])}
        return super()._said(error)

    def _reply(self, completion: Any) -> Reply:
        try:
            answer = completion["answers"][QUESTION]
            top = {label: math.log(max(float(p), LEAST)) for label, p in answer["probabilities"].items()}
            text, read = str(answer["choice"]), int(completion["usage"]["input_tokens"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RetuneError(
                f"{self.api.url}/systemone answers, but not with a decision: check api.url (most end with /v1), or "
                "take api.protocol: chat"
            ) from None
        ranked = sorted(top.items(), key=lambda one: -one[1])
        return Reply(text, [(label.encode().hex(), logprob) for label, logprob in ranked], read, 0)
