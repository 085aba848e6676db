"""The methods of `retune.load` as routes: /classify, /similar, /align, /assess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.errors import unknown
from retune.serve import answers, bodies
from retune.serve.refusal import RESPONSES, Refusal
from retune.serve.served import Served, pick


def router(models: Sequence[Served]) -> APIRouter:
    """The routes that some of the models can answer."""
    routes = APIRouter(responses=RESPONSES, tags=["typed"])
    if any(classifies(one) for one in models):

        @routes.post("/classify", response_model=answers.Labels, response_model_exclude_unset=True)
        async def classify(body: bodies.Classify) -> JSONResponse:
            """Label texts, as `retune.load(...).classify`."""
            served = pick(models, body.model, classifies, "labels single texts")
            await served.check(body.texts, "texts")
            (column,) = served.model.texts
            found = await served.predict([{column: text} for text in body.texts])
            return _labels(served, found, body.probabilities)

    if any(pairs(one) for one in models):

        @routes.post("/similar", response_model=answers.Labels)
        async def similar(body: bodies.Similar) -> JSONResponse:
            """Label pairs of texts, as `retune.load(...).similar`."""
            served = pick(models, body.model, pairs, "labels pairs")
            served.check_batch(len(body.pairs), "pairs")
            first, second = served.model.texts
            for place, pair in enumerate(body.pairs):
                for side, text in enumerate(pair):
                    await served.check([text], f"pairs[{place}][{side}]")
            found = await served.predict([{first: pair[0], second: pair[1]} for pair in body.pairs])
            return _labels(served, found, body.probabilities)

        @routes.post("/align", response_model=answers.Alignment)
        async def align(body: bodies.Align) -> JSONResponse:
            """Whether a text answers a question, as `retune.load(...).align`."""
            served = pick(models, body.model, pairs, "labels pairs")
            await served.check([body.question], "question")
            await served.check([body.chunk], "chunk")
            (found,) = await served.predict([dict(zip(served.model.texts, (body.question, body.chunk), strict=True))])
            return JSONResponse({"model": served.name, **served.model.alignment(found)})

    if any(assesses(one) for one in models):

        @routes.post("/assess", response_model=answers.Assessment)
        async def assess(body: bodies.Assess) -> JSONResponse:
            """Score a document in each dimension, as `retune.load(...).score`."""
            served = pick(models, body.model, assesses, "scores documents")
            await served.check([body.document], "document")
            known = list(served.model.spec.dimensions)
            names = known if body.dimensions is None else list(dict.fromkeys(body.dimensions))
            for name in names:
                if name not in known:
                    said = unknown("dimension", name, known, f" of {served.name}")
                    raise Refusal(422, "unknown_dimension", said, "dimensions")
            found = await served.predict([{"document": body.document, "dimension": name} for name in names])
            scores = {name: served.model.scored(row) for name, row in zip(names, found, strict=True)}
            return JSONResponse({"model": served.name, "dimensions": scores})

    return routes


def classifies(served: Served) -> bool:
    """Whether it labels single texts."""
    return len(served.model.texts) == 1


def pairs(served: Served) -> bool:
    """Whether it labels pairs of texts."""
    return served.kind == "pair"


def assesses(served: Served) -> bool:
    """Whether it scores documents in dimensions."""
    return served.kind == "scoring"


def _labels(served: Served, found: Sequence[dict[str, Any]], every: bool) -> JSONResponse:
    said = ("label", "probability", "truncated")
    results = [{name: row[name] for name in said} | served.model.abstention(row) for row in found]
    if every:
        for result, row in zip(results, found, strict=True):
            result["probabilities"] = {label: row[f"prob_{label}"] for label in served.labels}
    return JSONResponse({"model": served.name, "results": results})
