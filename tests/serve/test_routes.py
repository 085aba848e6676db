"""The service gives the answers of `retune.load`, to one and to many at once, and speaks what clients speak."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support import served
from tests.support.ranking_fit import judged
from tests.support.served import Service, model
from tests.support.tiny_encoder import pairs

pytestmark = pytest.mark.slow

TEXTS = [
    *pairs()["text_a"].unique(maintain_order=True).to_list()[:12],
    "a much longer text, to be padded: " + "花呗 " * 40,
]
QUERY, DOCUMENTS = judged()["query"][0], judged()["document"].unique(maintain_order=True).to_list()[:6]
ROUNDING = {"abs": 1e-6}
"""What the rows beside it may change in an answer in float32: the last digits."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    found = Service(*map(model, served.NAMES))
    yield found
    found.close()


def test_embed_gives_the_vectors_of_the_model(service: Service) -> None:
    expected = model("retriever").embed(TEXTS, "document")
    found = service.post("/embed_batch", {"texts": TEXTS, "input_type": "document", "model": "retriever"})
    assert np.array(found["embeddings"]) == pytest.approx(expected, **ROUNDING)
    one = service.post("/embed", {"text": TEXTS[0], "model": "retriever"})
    assert one["embedding"] == pytest.approx(model("retriever").embed(TEXTS[:1])[0], **ROUNDING)
    assert one["embedding"] != pytest.approx(found["embeddings"][0], abs=1e-3), "queries have a prefix of their own"


@pytest.mark.parametrize("name", ["retriever", "reranker"])
def test_score_gives_the_scores_of_the_model(service: Service, name: str) -> None:
    rows = [{"query": QUERY, "document": document} for document in DOCUMENTS]
    expected = model(name).predict(rows)
    found = service.post("/score_batch", {"query": QUERY, "docs": DOCUMENTS, "model": name})
    assert found["scores"] == pytest.approx([row["score"] for row in expected], **ROUNDING)
    assert found["relevances"] == pytest.approx([row["relevance"] for row in expected], **ROUNDING)
    one = service.post("/score", {"query": QUERY, "document": DOCUMENTS[1], "model": name})
    assert one["score"] == pytest.approx(expected[1]["score"], **ROUNDING)


def test_an_embedder_of_pairs_scores_by_the_cosine(service: Service) -> None:
    first, second = model("pairs").embed(TEXTS[:2])
    found = service.post("/score", {"query": TEXTS[0], "doc": TEXTS[1], "model": "pairs"})
    assert found == {"model": "pairs", "score": pytest.approx(float(first @ second), **ROUNDING)}


def test_the_typed_routes_give_the_answers_of_the_typed_methods(service: Service) -> None:
    couples = list(zip(TEXTS, reversed(TEXTS), strict=True))
    for route, body, expected in (
        ("/classify", {"texts": TEXTS}, model("texts").classify(TEXTS)),
        ("/similar", {"pairs": couples}, model("pairs").similar(couples)),
    ):
        results = service.post(route, body)["results"]
        assert [one["label"] for one in results] == [one["label"] for one in expected]
        assert [one["probability"] for one in results] == pytest.approx(
            [one["probability"] for one in expected], **ROUNDING
        )
    aligned = service.post("/align", {"question": TEXTS[0], "chunk": TEXTS[1]})
    wanted = model("pairs").align(TEXTS[0], TEXTS[1])
    assert aligned == {"model": "pairs"} | wanted | {"probability": pytest.approx(wanted["probability"], **ROUNDING)}
    for dimensions in (None, ["b"]):
        body = {"document": TEXTS[0]} | ({"dimensions": dimensions} if dimensions else {})
        assert service.post("/assess", body)["dimensions"] == model("scores").score(TEXTS[0], dimensions)


def test_probabilities_of_all_labels_are_told_on_demand(service: Service) -> None:
    (found,) = service.post("/classify", {"texts": TEXTS[:1], "probabilities": True})["results"]
    (row,) = model("texts").predict([{"text": TEXTS[0]}])
    wanted = {label: row[f"prob_{label}"] for label in model("texts").spec.labels}
    assert list(found["probabilities"]) == list(wanted)
    assert found["probabilities"] == pytest.approx(wanted, **ROUNDING)


def test_batches_of_many_requests_change_no_label_and_only_the_last_digits(service: Service) -> None:
    """Sixty clients at once, against each text alone."""
    texts = [f"{TEXTS[number % len(TEXTS)]} {'还' * (number * 7 % 31)}" for number in range(60)]
    alone = [model("texts").classify([text])[0] for text in texts]

    async def ask() -> list[dict[str, Any]]:
        transport = httpx.ASGITransport(service.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = await asyncio.gather(*(client.post("/classify", json={"texts": [text]}) for text in texts))
        return [answer.json()["results"][0] for answer in answers]

    before = sum(map(int, re.findall(r'batch_rows_count\{model="texts"\} (\d+)', service.metrics.text().decode())))
    together = asyncio.run(ask())
    after = sum(map(int, re.findall(r'batch_rows_count\{model="texts"\} (\d+)', service.metrics.text().decode())))
    assert after - before < len(texts) / 2, "the requests were joined"
    assert [one["label"] for one in together] == [one["label"] for one in alone]
    assert [one["probability"] for one in together] == pytest.approx([one["probability"] for one in alone], **ROUNDING)


def test_openais_own_client_reads_the_embeddings(service: Service) -> None:
    import openai

    transport = Forwarding(service)
    client = openai.OpenAI(base_url="http://test/v1", api_key="any", http_client=httpx.Client(transport=transport))
    found = client.embeddings.create(model="retriever", input=TEXTS[:3])  # it asks for base64
    assert np.array([one.embedding for one in found.data]) == pytest.approx(
        model("retriever").embed(TEXTS[:3]), **ROUNDING
    )
    assert found.usage.prompt_tokens > 3
    assert [one.id for one in client.models.list()] == list(served.NAMES)
    with pytest.raises(openai.NotFoundError, match="there are retriever"):
        client.embeddings.create(model="other", input="a")
    with pytest.raises(openai.UnprocessableEntityError, match="input is empty"):
        client.embeddings.create(model="retriever", input="")
    body = {"model": "retriever", "input": TEXTS[0], "encoding_format": "float", "input_type": "document"}
    (one,) = service.post("/v1/embeddings", body)["data"]
    assert one["embedding"] == pytest.approx(model("retriever").embed(TEXTS[:1], "document")[0], **ROUNDING)


class Forwarding(httpx.BaseTransport):
    """Requests of httpx to the application in this process."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the test client, which has a transport of its own."""
        path, headers = request.url.raw_path.decode(), dict(request.headers)
        answer = self.service.client.request(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


@pytest.mark.parametrize("route", ["/v1/rerank", "/v2/rerank"])
def test_rerank_gives_the_order_of_the_model(service: Service, route: str) -> None:
    expected = model("reranker").rerank(QUERY, DOCUMENTS)
    body = {"model": "reranker", "query": QUERY, "documents": [DOCUMENTS[0], *({"text": one} for one in DOCUMENTS[1:])]}
    found = service.post(route, {**body, "top_n": 4, "return_documents": True, "max_tokens_per_doc": 9})
    assert [one["index"] for one in found["results"]] == [one["place"] for one in expected[:4]]
    assert [one["document"]["text"] for one in found["results"]] == [one["document"] for one in expected[:4]]
    assert [one["relevance_score"] for one in found["results"]] == pytest.approx(
        [one["relevance"] for one in expected[:4]], **ROUNDING
    )
    assert len(service.post(route, body)["results"]) == len(DOCUMENTS)


def test_a_request_names_its_model_where_several_can_answer(service: Service) -> None:
    error = service.post("/score", {"query": "a", "doc": "b"}, 422)["error"]
    assert error["message"] == "several models here could answer: say `model`, one of retriever, reranker, pairs"
    error = service.post("/score", {"query": "a", "doc": "b", "model": "texts"}, 422)["error"]
    assert (
        error["message"]
        == "texts does not score documents for queries; retriever, reranker, pairs scores documents for queries"
    )
    assert service.post("/classify", {"texts": ["a"], "model": "nobody"}, 404)["error"]["code"] == "model_not_found"


def test_only_routes_that_a_model_can_answer_are_there_and_each_shows_an_example(service: Service) -> None:
    alone = Service(model("retriever"))
    there = set(alone.client.get("/openapi.json").json()["paths"])
    server = {"/health", "/ready", "/metrics", "/v1/models"}
    assert there == server | {
        "/embed",
        "/embed_batch",
        "/score",
        "/score_batch",
        "/v1/embeddings",
        "/v1/rerank",
        "/v2/rerank",
    }
    assert alone.client.post("/classify", json={"texts": ["a"]}).status_code == 404
    alone.close()
    document = service.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for route, methods in document["paths"].items():
        if "post" in methods:
            schema = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
            (example,) = schemas[schema["$ref"].rpartition("/")[2]]["examples"]
            assert service.client.post(route, json=example).status_code in (200, 404, 422), route


def test_the_server_tells_its_state_and_its_numbers(service: Service) -> None:
    assert service.client.get("/health").json() == {"status": "ok"}
    assert service.client.get("/ready").json() == {"status": "ready", "models": list(served.NAMES)}
    service.post("/classify", {"texts": ["a", "b"]})
    text = service.client.get("/metrics").text
    assert re.search(r'retune_requests_total\{route="/classify",status="200"\} [1-9]', text)
    assert 'retune_queue_rows{model="texts"} 0.0' in text
    assert re.search(r'retune_batch_rows_sum\{model="texts"\} [1-9]', text)
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(("url", "body"), served.commands(), ids=lambda one: one if isinstance(one, str) else "")
def test_a_command_of_the_docs_is_answered_at_its_port(url: str, body: dict[str, Any]) -> None:
    port, route = url.removeprefix("localhost:").split("/", 1)
    there = {"8001": ["retriever"], "8002": ["reranker"], "8000": ["texts", "pairs", "scores"]}[port]
    if "model" in body:
        body = body | {"model": there[0]}
    statuses = []
    for name in there:
        alone = Service(model(name))
        statuses.append(alone.client.post(f"/{route}", json=body).status_code)
        alone.close()
    assert 200 in statuses
