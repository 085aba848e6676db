"""The learner `api` against a real server on this machine that serves a tiny LLM, trained for the purpose."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retune.errors import RetuneError
from retune.learners.api import predict as api
from retune.learners.llm.predict import load as load_llm
from retune.params import Params
from tests.support import ROOT, api_model, chat_server
from tests.support.api_model import LETTERS
from tests.support.api_model import section as model
from tests.support.chat_server import KEY, ChatServer
from tests.support.llm_fit import PROMPT, rows, spec_of

pytestmark = pytest.mark.slow

ROWS = rows(24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api_model.trained(tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with api_model.serving(folder, tmp_path, monkeypatch) as running:
        yield running


def predict(spec: Params, frame: pl.DataFrame = ROWS) -> pl.DataFrame:
    return api.PromptedEndpoint(spec).predict(frame)


def test_probabilities_are_those_of_label_scoring_where_logprobs_are_offered(server: ChatServer, folder: Path) -> None:
    expected = load_llm(folder, folder, spec_of().hardware).predict(ROWS)
    found = predict(model(server))
    assert found["id"].to_list() == ROWS["id"].to_list()
    assert expected["label"].n_unique() == 2, "the model must have learned something"
    assert found["label"].to_list() == expected["label"].to_list()
    assert np.allclose(found["prob_1"], expected["prob_1"], atol=1e-5)
    assert set(found["raw"]) == {"A", "B"}
    assert server.requests[0]["messages"][0] == {"role": "system", "content": LETTERS["system"]}


def test_a_second_run_makes_no_request_and_gives_the_same_bytes(server: ChatServer, tmp_path: Path) -> None:
    first = predict(model(server))
    assert len(server.requests) == len(ROWS.unique(["text_a", "text_b"]))
    assert predict(model(server, concurrency=1, retries=0)).equals(first)
    assert len(server.requests) == len(ROWS.unique(["text_a", "text_b"]))
    predict(model(server, temperature=0.5), ROWS.head(1))
    assert server.requests[-1]["temperature"] == 0.5, "another request has another answer"


def test_a_killed_run_asks_only_what_is_missing(server: ChatServer, tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": list("abcdefgh"), "text_a": list("12345678"), "text_b": ["x"] * 8})
    frame.write_parquet("rows.parquet")
    Path("spec.json").write_text(json.dumps(model(server, concurrency=1)))
    code = (
        "import polars as pl; from pathlib import Path; from retune.learners.api import predict as api;"
        "print(api.load(Path(), Path(), None).predict(pl.read_parquet('rows.parquet'))['raw'].to_list())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server.delay = 0.3
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    while len(server.requests) < 4:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.delay = 0.0
    asked = [request["messages"][1]["content"] for request in server.requests]
    predict(model(server), frame)
    again = [request["messages"][1]["content"] for request in server.requests[len(asked) :]]
    assert len(again) == 5
    assert set(asked[:3]).isdisjoint(again)


def test_no_more_requests_are_under_way_than_allowed_and_the_pace_is_kept(server: ChatServer) -> None:
    server.delay = 0.05
    predict(model(server, concurrency=3, logprobs="never"))
    assert server.most_under_way == 3
    server.starts.clear()
    server.delay = 0.0
    predict(model(server, requests_per_minute=600, temperature=0.1), ROWS.head(5))
    assert np.diff(server.starts[1:]).min() > 0.07, "a tenth of a second apart, but for the clock's noise"


def test_passing_failures_are_asked_again_and_the_servers_pause_is_kept(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:

    def hang(handler: object, _: object) -> None:
        time.sleep(1.0)

    server.faults = [chat_server.busy(429, "1"), chat_server.busy(500), hang]
    with caplog.at_level(logging.INFO):
        found = predict(model(server, timeout=0.5), ROWS.head(3))
    assert found["label"].null_count() == 0
    assert len(server.requests) == 3 + 3
    assert server.starts[1] - server.starts[0] > 0.95
    assert "status 429, busy, ***; again in 1 s (retry 1 of 5)" in caplog.text
    assert "no answer within 0.5 s" in caplog.text


def test_a_server_that_keeps_failing_is_one_clear_error(server: ChatServer) -> None:
    server.faults = [chat_server.busy(503)] * 9
    with pytest.raises(RetuneError, match=rf"{server.url} failed 3 times in a row \(status 503.*run again later"):
        predict(model(server, retries=2))


def test_answers_without_a_label_are_null_and_counted(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    said = ["我不知道", "不是", "<think>是？</think>\n否", "答案：是。", "是还是否", "是的"]
    server.faults = [chat_server.saying(text) for text in said]
    with caplog.at_level(logging.INFO):
        found = predict(model(server, PROMPT, concurrency=1, logprobs="never"), rows(6))
    assert found["raw"].to_list() == said
    assert found["label"].to_list() == [None, None, "0", "1", None, None]
    assert found["prob_1"].to_list() == [None, None, 0.0, 1.0, None, None]
    assert "4 of 6 answers name no label" in caplog.text


def test_a_refused_row_is_unparsed_and_says_why(server: ChatServer) -> None:
    server.faults = [chat_server.refused]
    found = predict(model(server, concurrency=1, logprobs="never"), ROWS.head(3))
    assert found["raw"].to_list()[0] == "refused: content filter, ***"
    assert found["prob_0"].is_null().to_list() == [True, False, False]
    server.faults = [chat_server.refused] * 9
    with pytest.raises(RetuneError, match="refuses the requests to `tiny`: content filter"):
        predict(model(server, temperature=1.0))


@pytest.mark.parametrize("offers", [False, None], ids=["ignored", "refused"])
def test_an_endpoint_without_logprobs_is_parsed_and_asked_once(folder: Path, server: ChatServer, offers: Any) -> None:
    server.offers_logprobs = offers
    found = predict(model(server))
    assert set(found["prob_1"]) == {0.0, 1.0}
    asked = len(server.requests)
    assert predict(model(server)).equals(found)
    assert len(server.requests) == asked
    with pytest.raises(RetuneError, match="no log-probabilities are offered"):
        predict(model(server, logprobs="always"))


def test_answers_that_begin_with_the_same_token_are_parsed(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = LETTERS | {"answers": {"0": "A 0", "1": "A 1"}}
    server.faults = [chat_server.saying("A 1", keep=True)] * 4
    with caplog.at_level(logging.INFO):
        found = predict(model(server, prompt), ROWS.filter(label=0).head(4))
    assert found["prob_1"].to_list() == [1.0] * 4
    assert "read by parsing: its first token tells no answers apart" in caplog.text
    with pytest.raises(RetuneError, match="its first token tells no answers apart"):
        predict(model(server, prompt, logprobs="always"), ROWS.filter(label=0))


def test_options_join_the_request_and_null_takes_a_field_out(server: ChatServer) -> None:
    spec = model(server, options={"seed": 3, "temperature": None})
    predict(spec, ROWS.head(1))
    assert server.requests[0]["seed"] == 3
    assert "temperature" not in server.requests[0]


def test_tokens_and_cost_are_counted(server: ChatServer) -> None:
    found = predict(model(server, price_input=2.0, price_output=8.0), ROWS.head(2))
    assert found["prompt_tokens"].min() > 10
    assert found["completion_tokens"].to_list() == [1, 1]
    expected = (found["prompt_tokens"] * 2.0 + 8.0) / 1e6
    assert found["cost"].to_list() == pytest.approx(expected.to_list())


def test_a_wrong_key_is_one_clear_error_and_stands_nowhere(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("RETUNE_API_KEY", "sk-other")
    with pytest.raises(RetuneError) as error:
        predict(model(server))
    assert str(error.value) == f"{server.url} refuses the key (status 401): check RETUNE_API_KEY in the environment"
    monkeypatch.delenv("RETUNE_API_KEY")
    with pytest.raises(RetuneError, match="set RETUNE_API_KEY in the environment"):
        predict(model(server))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.faults = [chat_server.busy(500)]
    predict(model(server))
    for text in [caplog.text, *(file.read_text() for file in tmp_path.rglob("*") if file.is_file())]:
        assert "sk-other" not in text
        assert KEY not in text


def test_what_is_no_endpoint_is_said_with_its_address(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    spec = model(server)
    spec["api"]["url"] = server.url.removesuffix("/v1")
    with pytest.raises(RetuneError, match=r"answers with status 404 \(no such page\): check api.url \(most end with"):
        predict(spec)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        spec["api"]["url"] = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(RetuneError, match=rf"{spec['api']['url']} can't be reached \(.*is the server running"):
        predict(spec)
    assert not any("again in" in line for line in caplog.messages), "no retry before the first answer"


def test_candidates_for_the_first_token_give_the_labels_probabilities() -> None:
    def top(**found: float) -> list[tuple[str, float]]:
        return [(token.encode().hex(), float(np.log(p))) for token, p in found.items()]

    assert np.exp(api.of_first_token(top(yes=0.6, n=0.2, maybe=0.1), ["yes", "no"])) == pytest.approx([0.75, 0.25])
    least = np.exp(api.of_first_token(top(yes=0.9, maybe=0.1), ["yes", "no"]))
    assert least == pytest.approx([0.9, 0.1]), "a label outside the list has at most the list's least"
    assert api.of_first_token(top(maybe=1.0), ["yes", "no"]) is None
    halves = [("是".encode()[:1].hex(), -0.1), ("否".encode().hex(), -3.0)]
    assert api.of_first_token(halves, ["是", "昨"]) is None, "half a character begins both"
    assert np.exp(api.of_first_token(halves, ["是", "否"]))[0] > 0.9
