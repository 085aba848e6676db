"""What is refused: each limit names its value, a bad input is never the server's fault, and no text is repeated."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import served
from tests.support.served import Service, model
from tests.support.slow_server import Slow

pytestmark = pytest.mark.slow

SECRET = "a user's secret"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    found = Service(*map(model, served.NAMES), max_batch=4, max_body=2000, max_tokens=20)
    yield found
    found.close()


def refused(service: Service, status: int, route: str, body: Any) -> dict[str, Any]:
    found: dict[str, Any] = service.post(route, body, status)["error"]
    return found


def test_a_long_body_is_told_its_length_and_the_limit(service: Service) -> None:
    error = refused(service, 413, "/classify", {"texts": ["x" * 3000]})
    assert error["message"] == "the body has at least 3,014 bytes, more than the 2,000 of one request (--max-body)"
    assert (error["value"], error["limit"]) == (3014, 2000)
    streamed = service.client.post("/classify", content=(b"x" * 500 for _ in range(9)))
    assert streamed.status_code == 413
    assert streamed.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/classify", {"texts": ["a"] * 5}, "texts"),
        ("/similar", {"pairs": [["a", "b"]] * 5}, "pairs"),
        ("/embed_batch", {"texts": ["a"] * 5, "model": "pairs"}, "texts"),
        ("/score_batch", {"query": "a", "docs": ["a"] * 5, "model": "pairs"}, "docs"),
        ("/v1/embeddings", {"input": ["a"] * 5, "model": "pairs"}, "input"),
        ("/v1/rerank", {"query": "a", "documents": ["a"] * 5, "model": "reranker"}, "documents"),
        (
            "/v1/systemone",
            {"state": {"text_a": "a", "text_b": "b"}, "model": "pairs"}
            | {"questions": {str(number): {"type": "noul"} for number in range(5)}},
            "questions",
        ),
    ],
)
def test_a_large_batch_is_told_its_size_and_the_limit(service: Service, route: str, body: Any, param: str) -> None:
    error = refused(service, 422, route, body)
    assert error["message"] == f"{param} has 5 items, more than the 4 of one request (--max-batch): send several"
    assert (error["param"], error["value"], error["limit"]) == (param, 5, 4)


def test_a_text_of_too_many_tokens_is_told_their_number_and_the_limit(service: Service) -> None:
    text = "花 " * 30
    own: Any = model("texts").predictor
    expected = len(own.tokenizer(text)["input_ids"])
    error = refused(service, 422, "/classify", {"texts": ["a", text]})
    said = f"texts[1] has {expected} tokens, more than the 20 that one text may have (--max-tokens)"
    assert (error["message"], error["value"], error["limit"]) == (said, expected, 20)


BAD: list[tuple[str, Any]] = [
    ("/classify", {}),
    ("/classify", []),
    ("/classify", None),
    ("/classify", {"texts": []}),
    ("/classify", {"texts": "a"}),
    ("/classify", {"texts": [1]}),
    ("/classify", {"texts": [None]}),
    ("/classify", {"texts": [["a"]]}),
    ("/classify", {"texts": [""]}),
    ("/classify", {"texts": [" \n\u3000"]}),
    ("/classify", {"texts": ["a"], "text": "a"}),
    ("/classify", {"texts": ["a"], "model": 3}),
    ("/classify", {"texts": ["a"], "model": "../../etc"}),
    ("/similar", {"pairs": [["a"]]}),
    ("/similar", {"pairs": [["a", "b", "c"]]}),
    ("/similar", {"pairs": [["a", ""]]}),
    ("/align", {"question": "a"}),
    ("/assess", {"document": "a", "dimensions": ["none"]}),
    ("/assess", {"document": "a", "dimensions": []}),
    ("/embed", {"text": "a", "input_type": "other", "model": "pairs"}),
    ("/v1/embeddings", {"input": [1, 2], "model": "pairs"}),
    ("/v1/embeddings", {"input": [], "model": "pairs"}),
    ("/v1/embeddings", {"input": "a", "model": "pairs", "dimensions": 3}),
    ("/v1/embeddings", {"input": "a", "model": "pairs", "dimensions": 1e300}),
    ("/v1/rerank", {"query": "a", "documents": ["a"], "top_n": 0, "model": "reranker"}),
    ("/v1/rerank", {"query": "a", "documents": [{}], "model": "reranker"}),
    ("/v1/systemone", {"state": 3, "questions": {"a": {"type": "noul"}}, "model": "pairs"}),
    ("/v1/systemone", {"state": "a", "questions": {"a": {"type": "noul"}}, "model": "pairs"}),
    ("/v1/systemone", {"state": {"text_a": "a", "text_b": 3}, "questions": {"a": {"type": "noul"}}, "model": "pairs"}),
    ("/v1/systemone", {"state": "a", "questions": {"a": {}}, "model": "texts"}),
    ("/v1/systemone", {"state": "a", "questions": {"a": {"type": ["noul"]}}, "model": "texts"}),
    (
        "/v1/systemone",
        {"state": "a", "questions": {"a": {"type": "choice", "criteria": {"x": None}}}, "model": "texts"},
    ),
    ("/v1/systemone", {"state": "a", "questions": {}, "model": "texts"}),
]


@pytest.mark.parametrize(("route", "body"), BAD)
def test_a_bad_input_is_the_callers_fault_and_told_as_such(service: Service, route: str, body: Any) -> None:
    answer = service.client.post(route, json=body)
    assert answer.status_code in (400, 404, 422), answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 1900, b'{"texts": NaN}', b'{"texts": [NaN]}', b"\xff\xfe", b'{"texts": ["\xff"]}', b"1" * 1900,
     b'{"texts": ["\\ud800"]}', b'{"texts": ["a"], "\\uDfff": 1}', b"\x1f\x8b\x08"],
)  # fmt: skip
def test_what_is_no_json_is_the_callers_fault(service: Service, content: bytes) -> None:
    answer = service.client.post("/classify", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text", ["\x00", "\x00" * 9, "\u202e花呗", "👩‍👩‍👧‍👦", "ﷺ", "\ufeff a", "<|im_end|>", "[MASK]"]
)
def test_strange_texts_are_answered(service: Service, text: str) -> None:
    """Or refused, for their many tokens."""
    for route, body in (
        ("/classify", {"texts": [text]}),
        ("/embed", {"text": text, "model": "retriever"}),
        ("/assess", {"document": text}),
    ):
        assert service.client.post(route, json=body).status_code in (200, 422)


def test_no_answer_and_no_log_repeats_a_users_text(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for body in ({"texts": [SECRET, 3]}, {"texts": SECRET}, {"texts": [SECRET] * 5}, {"texts": [SECRET * 9]}):
        assert SECRET not in service.client.post("/classify", json=body).text
    broken = Service(Slow(0.0))
    answer = broken.client.post("/classify", json={"texts": ["a secret that breaks it"]})
    broken.close()
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "the server failed; its log says where"
    said = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    (line,) = [one for one in said if "ValueError" in one]
    assert "POST /classify: ValueError at " in line
    assert "slow_server.py" in line
    assert not any("secret" in one for one in [*said, caplog.text])


class Held(Slow):
    """A model that waits for leave."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.begun, self.leave = threading.Event(), threading.Event()

    def predict(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """The labels, when it may."""
        self.begun.set()
        assert self.leave.wait(60)
        return super().predict(rows)


def test_a_full_queue_is_429_and_what_waited_is_answered() -> None:
    held = Held()
    held.leave.set()
    service = Service(held, queue=3)

    async def scene() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            def post(*texts: str) -> asyncio.Task[httpx.Response]:
                return asyncio.create_task(client.post("/classify", json={"texts": texts}))

            held.begun.clear()
            held.leave.clear()
            first = post("a")
            await asyncio.to_thread(held.begun.wait)
            second = post("b", "c", "d")
            while service.served[0].batcher.waiting < 3:
                await asyncio.sleep(0.001)
            third = await post("e")
            held.leave.set()
            return [await first, await second, third]

    first, second, third = asyncio.run(scene())
    service.close()
    assert [one["label"] for one in second.json()["results"]] == ["b", "c", "d"]
    assert (first.status_code, third.status_code, third.headers["retry-after"]) == (200, 429, "1")
    error = third.json()["error"]
    assert (
        error["message"] == "3 rows wait for slow, and 1 more would be beyond the 3 that may (--queue): try again soon"
    )
    assert (error["value"], error["limit"]) == (4, 3)


def test_what_takes_too_long_is_504_and_names_the_limit() -> None:
    held = Held()
    service = Service(held, timeout=0.1)
    error = service.post("/classify", {"texts": ["a"]}, 504)["error"]
    held.leave.set()
    service.close()
    assert error["message"] == "slow did not answer within 0.1 seconds (--timeout): ask for less at a time"


def test_a_body_that_does_not_come_is_408() -> None:
    service = Service(Slow(0.0), timeout=0.05)

    async def body() -> Any:
        yield b'{"texts": '
        await asyncio.sleep(60)

    async def scene() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not sent and not received:
                received.append(1)
                return {"type": "http.request", "body": b'{"texts": ', "more_body": True}
            await asyncio.sleep(60)
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        received: list[int] = []
        scope = {"type": "http", "method": "POST", "path": "/classify", "headers": [], "query_string": b""}
        await service.client.app(scope, receive, send)
        return sent

    assert asyncio.run(scene())[0]["status"] == 408
    service.close()


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/classify", {"texts": ["a"], "probabilities": 0, "model": "texts"}, "probabilities"),
        ("/similar", {"pairs": [["a", "b"]], "probabilities": "yes", "model": "pairs"}, "probabilities"),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "return_documents": 1}, "return_documents"),
    ],
)
def test_yes_and_no_are_no_numbers_and_no_words(service: Service, route: str, body: Any, param: str) -> None:
    """The document says `boolean`, so another type is refused (found by Schemathesis)."""
    assert refused(service, 422, route, body)["param"] == param


def test_the_document_says_that_no_text_may_be_blank(service: Service) -> None:
    schemas = service.client.get("/openapi.json").json()["components"]["schemas"]
    texts = [schemas["Classify"]["properties"]["texts"]["items"], schemas["Text"]["properties"]["text"]]
    texts += [
        *schemas["Similar"]["properties"]["pairs"]["items"]["prefixItems"],
        schemas["Document"]["properties"]["text"],
    ]
    for text in texts:
        assert (text["minLength"], text["pattern"]) == (1, r"\S")
    for blank in ("", " \n"):
        assert refused(service, 422, "/classify", {"texts": [blank], "model": "texts"})["code"] == "empty_text"


def test_a_question_without_options_is_told(service: Service) -> None:
    asked = {"state": {"text_a": "a", "text_b": "b"}, "model": "pairs", "questions": {"q": {"type": "choice"}}}
    error = refused(service, 422, "/v1/systemone", asked)
    assert error["message"] == "questions.q has no `criteria`: the options that it chooses among"
