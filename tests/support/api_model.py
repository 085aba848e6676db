"""A model of the learner `api`, and the tiny LLM that its endpoint serves, trained for the purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from retune.learners.llm.fit import fit as fit_llm
from retune.params import Params, loads
from retune.pipeline.schema.params import Api
from retune.sources import retry
from tests.support import tiny_llm
from tests.support.chat_server import KEY, ChatServer
from tests.support.llm_fit import PROMPT, rows, spec_of

LETTERS = PROMPT | {"answers": {"0": "A", "1": "B"}}
"""Answers of one token, so that the first token's probability is the answer's."""


def trained(base: Path, out: Path) -> Path:
    """A tiny LLM that has learned to answer, made from what is written to `base`."""
    spec = spec_of(lora__method="full", training__epochs=1.5, training__truncation="end", prompt=LETTERS)
    (out / "spec.json").write_text(json.dumps(spec))
    fit_llm(spec, rows(48), rows(8), tiny_llm.tiny_llm(base), out, out / "scratch")
    return out


@contextmanager
def serving(model: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """Its endpoint, asked from the folder `project`, with the key and short pauses."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("RETUNE_API_KEY", KEY)
    monkeypatch.setattr(retry, "PAUSE", 0.01)
    with ChatServer(model) as running:
        yield running


def section(server: ChatServer, prompt: dict[str, Any] | None = None, **options: Any) -> Params:
    """The resolved section of a model that asks the server."""
    api = Api.model_validate({"url": server.url, "model": "tiny", "max_tokens": 4, **options}).model_dump()
    names = {"task": "similarity", "kind": "pair", "labels": ["0", "1"], "learner": "api", "base": "scratch", "seed": 0}
    return loads(json.dumps({**names, "api": api, "hardware": {}, "augmented": True, "prompt": prompt or LETTERS}))
