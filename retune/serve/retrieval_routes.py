"""Vectors and scores: /embed, /embed_batch, /score, /score_batch.

An embedder scores by the cosine of query and document (port 8001), a reranker reads both in one input (port 8002).
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.serve import answers, bodies
from retune.serve.refusal import RESPONSES
from retune.serve.served import SIDES, Served, pick

EMBEDS = "embeds texts"
SCORES = "scores documents for queries"


def router(models: Sequence[Served]) -> APIRouter:
    """The routes that some of the models can answer."""
    routes = APIRouter(responses=RESPONSES, tags=["retrieval"])
    if any(embeds(one) for one in models):

        @routes.post("/embed", response_model=answers.Embedding)
        async def embed(body: bodies.Text) -> JSONResponse:
            """The vector of a text."""
            served = pick(models, body.model, embeds, EMBEDS)
            await served.check([body.text], "text")
            (vector,) = await served.embed([body.text], body.input_type)
            return JSONResponse({"model": served.name, "embedding": vector.tolist()})

        @routes.post("/embed_batch", response_model=answers.EmbeddingList)
        async def embed_batch(body: bodies.Texts) -> JSONResponse:
            """The vectors of texts."""
            served = pick(models, body.model, embeds, EMBEDS)
            await served.check(body.texts, "texts")
            vectors = await served.embed(body.texts, body.input_type)
            return JSONResponse({"model": served.name, "embeddings": [vector.tolist() for vector in vectors]})

    if any(scores(one) for one in models):

        @routes.post("/score", response_model=answers.Score)
        async def score(body: bodies.QueryDoc) -> JSONResponse:
            """The score of a document for a query."""
            served = pick(models, body.model, scores, SCORES)
            await served.check([body.query], "query")
            await served.check([body.doc], "doc")
            found, relevances = await scored(served, body.query, [body.doc])
            relevance = {"relevance": relevances[0]} if relevances else {}
            return JSONResponse({"model": served.name, "score": found[0], **relevance})

        @routes.post("/score_batch", response_model=answers.Scores)
        async def score_batch(body: bodies.QueryDocs) -> JSONResponse:
            """The scores of documents for a query."""
            served = pick(models, body.model, scores, SCORES)
            await served.check([body.query], "query")
            await served.check(body.docs, "docs")
            found, relevances = await scored(served, body.query, body.docs)
            relevance = {"relevances": relevances} if relevances else {}
            return JSONResponse({"model": served.name, "scores": found, **relevance})

    return routes


def embeds(served: Served) -> bool:
    """Whether it gives vectors."""
    return served.embeds


def scores(served: Served) -> bool:
    """Whether it scores documents for queries."""
    return served.ranks or served.embeds


async def scored(served: Served, query: str, documents: Sequence[str]) -> tuple[list[float], list[float]]:
    """Score and relevance of each document, in their order; an embedder of pairs has cosines and no relevance."""
    if served.ranks:
        found = await served.predict([{"query": query, "document": document} for document in documents])
        return [row["score"] for row in found], [row["relevance"] for row in found]
    query_side, document_side = SIDES
    (asked,) = await served.embed([query], query_side)
    vectors = await served.embed(documents, document_side)
    return [float(asked @ vector) for vector in vectors], []
