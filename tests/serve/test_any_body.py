"""Whatever a body holds, the answer is no fault of the server's, and it goes on to answer."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import served
from tests.support.served import Service, model

pytestmark = pytest.mark.slow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BODIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/embed", {"text": "花呗", "input_type": "query", "model": "retriever"}),
    ("/embed_batch", {"texts": ["花呗", "a"], "input_type": "document", "model": "pairs"}),
    ("/score", {"query": "花呗", "doc": "a", "model": "reranker"}),
    ("/score_batch", {"query": "花呗", "docs": ["a", "b"], "model": "retriever"}),
    ("/classify", {"texts": ["花呗", "a"], "probabilities": True, "model": "texts"}),
    ("/similar", {"pairs": [["花呗", "a"]], "probabilities": True, "model": "pairs"}),
    ("/align", {"question": "花呗", "chunk": "a", "model": "pairs"}),
    ("/assess", {"document": "花呗", "dimensions": ["a"], "model": "scores"}),
    ("/v1/embeddings", {"model": "pairs", "input": ["a"], "encoding_format": "float", "dimensions": 32}),
    ("/v1/rerank", {"model": "reranker", "query": "a", "documents": ["a", {"text": "b"}], "top_n": 1}),
    (
        "/v1/systemone",
        {"model": "pairs", "state": {"text_a": "a", "text_b": "b"}, "questions": {"x": {"type": "noul"}}},
    ),
    (
        "/v1/systemone",
        {"model": "texts", "state": {"text": "a"}}
        | {
            "questions": {
                "x": {
                    "type": "choice",
                    "instructions": "a",
                    "criteria": dict.fromkeys(["银行", "花呗", "借呗", "余额"]),
                }
            }
        },
    ),
)


@functools.cache
def service() -> Service:
    return Service(*map(model, served.NAMES))


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each part of a body."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in inner for place in places(part, (*at, key)))]


@st.composite
def changed(draw: Any) -> tuple[str, Any]:
    """A route, and a good body with some parts replaced, left out, or added."""
    route, good = draw(st.sampled_from(BODIES))
    body: Any = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.sampled_from(places(body)))
        if not at:
            body = draw(ANY)
            continue
        around = functools.reduce(lambda part, key: part[key], at[:-1], body)
        match draw(st.sampled_from(["replaced", "replaced", "text", "left out", "added"])):
            case "replaced":
                around[at[-1]] = draw(ANY)
            case "text":
                around[at[-1]] = draw(TEXT)
            case "left out":
                del around[at[-1]]
            case _ if isinstance(around, dict):
                around[draw(TEXT)] = draw(ANY)
            case _:
                around.append(draw(ANY))
    return route, body


@pytest.mark.parametrize(("route", "body"), BODIES)
def test_the_bodies_that_are_changed_are_good_ones(route: str, body: dict[str, Any]) -> None:
    assert service().client.post(route, json=body).status_code == 200


@settings(max_examples=60)
@given(changed())
def test_any_body_is_answered_or_refused_with_a_reason(asked: tuple[str, Any]) -> None:
    route, body = asked
    answer = service().client.post(route, json=body)
    assert answer.status_code in (200, 400, 404, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]["message"]
