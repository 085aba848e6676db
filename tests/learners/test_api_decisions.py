"""Learner `api` with `protocol: decision`, against a server of transformers' own decision pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retune.errors import RetuneError
from retune.exports.protocol import Built
from retune.learners.api import predict as api
from retune.params import Params, loads
from retune.pipeline import effective
from retune.pipeline.schema.params import Api
from retune.sources import retry
from tests.support import exported_llm
from tests.support.chat_server import KEY, DecisionServer, busy
from tests.support.exported_llm import ROWS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def folder(tiny: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_llm.export(tiny, "merged decision", tmp_path_factory.mktemp("exports") / "small")


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecisionServer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETUNE_API_KEY", KEY)
    monkeypatch.setattr(retry, "PAUSE", 0.01)
    with DecisionServer(folder) as running:
        yield running


def model(server: DecisionServer, tiny: Built, **changes: Any) -> Params:
    section = Api.model_validate({"url": server.url, "model": "small", "protocol": "decision"}).model_dump()
    spec = {name: tiny.spec[name] for name in ("task", "kind", "labels", "prompt")} | {"learner": "api", "seed": 0}
    return loads(json.dumps(effective.model({**spec, "api": section, **changes})))


def predict(spec: Params) -> pl.DataFrame:
    return api.PromptedEndpoint(spec).predict(ROWS)


def test_its_probabilities_are_those_of_the_model_behind_the_endpoint(server: DecisionServer, tiny: Built) -> None:
    server.faults = [busy(503)]
    spec = model(server, tiny)
    assert not {"max_tokens", "temperature", "logprobs"} & set(spec.api), "a decision does not read them"
    found = predict(spec)
    expected = exported_llm.probabilities(tiny)
    assert np.allclose(found.select("prob_0", "prob_1").to_numpy(), expected, atol=1e-5)
    assert found["label"].to_list() == [str(code) for code in expected.argmax(1)]
    assert found["raw"].to_list() == found["label"].to_list()
    assert found["prompt_tokens"].min() > 0
    assert found["completion_tokens"].max() == 0
    asked = len(server.requests)
    assert predict(spec).equals(found)
    assert len(server.requests) == asked, "a repeated run asks nothing"
    question = server.requests[0]["questions"]["answer"]
    assert question["criteria"] == {"0": "B", "1": "A"}
    assert question["instructions"] == tiny.spec.prompt.system


def test_what_goes_wrong_is_one_sentence(server: DecisionServer, tiny: Built) -> None:
    prompt = {**tiny.spec.prompt, "answers": {"0": "B", "1": "A", "2": "C"}}
    other = model(server, tiny, labels=["0", "1", "2"], prompt=prompt)
    with pytest.raises(
        RetuneError, match=r"refuses the requests to `small`: .*at most 2 options for a choice question"
    ):
        predict(other)
    server.faults = [lambda handler, _: handler.send(200, {"choices": []})]
    with pytest.raises(RetuneError, match=r"systemone answers, but not with a decision: check api.url"):
        predict(model(server, tiny))
    server.path = "/v1/chat/completions"
    with pytest.raises(RetuneError, match=r"status 404 .*: check api.url \(most end with /v1\) and api.model"):
        predict(model(server, tiny))
