"""What people ask with today, over HTTP on loopback: curl, the clients of OpenAI and Cohere, Jina's request, decisions.

Cohere's package is not in the lock: `pip install cohere` runs its test, which is left out else.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from retune.params import Params, loads
from retune.sources import decision_api
from tests.support import served
from tests.support.ranking_fit import judged
from tests.support.served import listening, model

pytestmark = pytest.mark.slow

QUERY, DOCUMENTS = judged()["query"][0], judged()["document"].unique(maintain_order=True).to_list()[:6]
NEAR: dict[str, Any] = {"abs": 1e-6}
AT = {"8001": ("retriever",), "8002": ("reranker",), "8000": ("texts", "pairs", "scores")}
"""Port of the docs -> models; of two that could answer, the last one that has its name."""


@pytest.fixture(scope="module")
def reranker() -> Iterator[str]:
    with listening(model("reranker")) as url:
        yield url


def expected() -> list[tuple[int, float]]:
    """Place and relevance of the documents, the best first."""
    return [(one["place"], one["relevance"]) for one in model("reranker").rerank(QUERY, DOCUMENTS)]


def test_each_curl_line_of_the_docs_is_answered_by_a_real_server() -> None:
    """As it stands there, but for the address, and the name of the model where it says one."""
    names = {"retriever": "retrieval_embedder", "reranker": "retrieval_reranker"}
    run = 0
    for port, roles in AT.items():
        models = [dataclasses.replace(model(role), name=names.get(role, role)) for role in roles]
        with listening(*models) as url:
            for words in served.lines():
                address = words[1]
                if not address.startswith(f"localhost:{port}/"):
                    continue
                body = json.loads(words[-1])
                if address.endswith("/v1/systemone"):
                    body["model"] = "pairs"  # `texts` has labels, too
                asked = [*words[:-1], json.dumps(body)]
                asked[1] = address.replace(f"localhost:{port}", url)
                said = subprocess.run([*asked, "-sS", "--fail-with-body"], capture_output=True, text=True, check=False)
                assert said.returncode == 0, (words, said.stdout, said.stderr)
                assert json.loads(said.stdout)
                run += 1
    assert run == len(served.lines()) > 8


def test_openais_client_over_http() -> None:
    with listening(model("retriever")) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any")
        found = client.embeddings.create(model="retriever", input=DOCUMENTS, extra_body={"input_type": "document"})
        vectors = [one.embedding for one in found.data]
        assert vectors == [pytest.approx(one, abs=1e-6) for one in model("retriever").embed(DOCUMENTS, "document")]


def test_coheres_own_client_reads_the_order(reranker: str) -> None:
    cohere: Any = pytest.importorskip("cohere")
    for client in (cohere.ClientV2("any", base_url=reranker), cohere.Client("any", base_url=reranker)):
        found = client.rerank(model="reranker", query=QUERY, documents=DOCUMENTS, top_n=3)
        order = [(one.index, one.relevance_score) for one in found.results]
        assert order == [(place, pytest.approx(relevance, **NEAR)) for place, relevance in expected()[:3]]
        assert all(0 <= relevance <= 1 for _, relevance in order)
    with pytest.raises(cohere.UnprocessableEntityError, match="documents"):
        client.rerank(model="reranker", query=QUERY, documents=[""])
    with pytest.raises(cohere.NotFoundError, match="there is no such model"):
        client.rerank(model="other", query=QUERY, documents=DOCUMENTS)


@pytest.mark.parametrize(
    ("route", "more"),
    [
        # cohere 7.3.1, v2/raw_client.py and raw_base_client.py: what is not given is left out
        ("/v2/rerank", {"top_n": 3, "max_tokens_per_doc": 4096}),
        ("/v1/rerank", {"top_n": 3, "return_documents": False, "max_chunks_per_doc": 10}),
        # langchain_community/document_compressors/jina_rerank.py: top_n is null where all are wanted
        ("/v1/rerank", {"top_n": None}),
    ],
    ids=["cohere v2", "cohere v1", "jina"],
)
def test_requests_as_rerank_clients_build_them(reranker: str, route: str, more: dict[str, Any]) -> None:
    body = {"model": "reranker", "query": QUERY, "documents": DOCUMENTS, **more}
    answer = httpx.post(f"{reranker}{route}", json=body, headers={"authorization": "Bearer any"})
    order = [(one["index"], one["relevance_score"]) for one in answer.json()["results"]]
    assert order == [(place, pytest.approx(relevance, **NEAR)) for place, relevance in expected()[: more["top_n"]]]


def test_learner_api_asks_us_for_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of a decision endpoint that this project has, which `transformers serve` answers, too."""
    monkeypatch.chdir(tmp_path)
    own = model("pairs")
    row = {"text_a": "花呗怎么还", "text_b": "花呗如何还款"}
    with listening(own) as url:
        api: Params = loads(
            json.dumps(
                {"url": f"{url}/v1", "model": "pairs", "options": {}, "retries": 0, "timeout": 60.0, "concurrency": 1}
                | {"requests_per_minute": None}
            )
        )
        asked = decision_api.request(api, row, "", {"0": "否", "1": "是"})
        (reply,) = decision_api.ask(api, [asked])
    (found,) = own.predict([row])
    logs = {bytes.fromhex(label).decode(): chance for label, chance in reply.top}
    assert {label: pytest.approx(found[f"prob_{label}"], **NEAR) for label in logs} == {
        label: 2.718281828459045**chance for label, chance in logs.items()
    }
