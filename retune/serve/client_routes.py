"""What clients of other services speak: OpenAI's /v1/embeddings, Cohere's and Jina's /v1/rerank, /v1/systemone."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.serve import answers, bodies, decisions
from retune.serve.refusal import RESPONSES, Refusal
from retune.serve.retrieval_routes import EMBEDS, embeds
from retune.serve.served import Served, pick


def router(models: Sequence[Served]) -> APIRouter:
    """The routes that some of the models can answer."""
    routes = APIRouter(responses=RESPONSES, tags=["clients"])

    @routes.get("/v1/models")
    async def models_() -> JSONResponse:
        """The names of the served models."""
        listed = [{"id": one.name, "object": "model", "created": 0, "owned_by": "retune"} for one in models]
        return JSONResponse({"object": "list", "data": listed})

    if any(embeds(one) for one in models):

        @routes.post("/v1/embeddings", response_model=answers.OpenAIEmbeddings)
        async def embeddings(body: bodies.Embeddings) -> JSONResponse:
            """Vectors, as OpenAI's clients ask for them."""
            served = pick(models, body.model, embeds, EMBEDS)
            texts = [body.input] if isinstance(body.input, str) else body.input
            if not texts:
                raise Refusal(422, "empty_batch", "input is empty: give a text, or some", "input")
            await served.check(texts, "input")
            side = "document" if "document" in body.input_type or body.input_type == "passage" else "query"
            width = _width(served, body.dimensions)
            vectors = [_cut(vector, width) for vector in await served.embed(texts, side)]
            data = [
                {"object": "embedding", "index": place, "embedding": _written(vector, body.encoding_format)}
                for place, vector in enumerate(vectors)
            ]
            count = await served.tokens(texts)
            usage = {"prompt_tokens": count, "total_tokens": count}
            return JSONResponse({"object": "list", "model": served.name, "data": data, "usage": usage})

    if any(one.ranks for one in models):

        @routes.post("/v1/rerank", response_model=answers.Ranking)
        @routes.post("/v2/rerank", response_model=answers.Ranking)
        async def rerank(body: bodies.Rerank) -> JSONResponse:
            """The documents in the order of their relevance, as Cohere's and Jina's clients ask for it."""
            served = pick(models, body.model, lambda one: one.ranks, "ranks documents")
            texts = [one if isinstance(one, str) else one.text for one in body.documents]
            await served.check([body.query], "query")
            await served.check(texts, "documents")
            found = await served.predict([{"query": body.query, "document": text} for text in texts])
            order = sorted(range(len(found)), key=lambda place: (-found[place]["score"], place))
            results: list[dict[str, Any]] = []
            for place in order[: body.top_n]:
                results.append({"index": place, "relevance_score": found[place]["relevance"]})
                if body.return_documents:
                    results[-1]["document"] = {"text": texts[place]}
            count = await served.tokens([body.query]) * len(texts) + await served.tokens(texts)
            return JSONResponse(
                {
                    "id": str(uuid.uuid4()),
                    "model": served.name,
                    "results": results,
                    "usage": {"total_tokens": count},
                    "meta": {"api_version": {"version": "2"}, "tokens": {"input_tokens": count}},
                }
            )

    if any(one.labels for one in models):

        @routes.post("/v1/systemone", response_model=answers.Decisions)
        async def systemone(body: bodies.SystemOne) -> JSONResponse:
            """Typed questions about a state, as `transformers serve` answers them; no text is generated."""
            served = pick(models, body.model, lambda one: one.labels, "answers typed questions")
            if body.assets:
                raise Refusal(422, "no_images", "assets: no model here reads images", "assets", len(body.assets))
            questions = decisions.parse(served, body.questions)
            asked = decisions.rows(served, body.state, questions)
            served.check_batch(len(asked), "questions")
            texts = [text for name, text in asked[0].items() if name != "dimension"]
            for name, text in asked[0].items():
                await served.check([text], f"state.{name}")
            found = await served.predict(asked)
            said = {
                question.name: decisions.answer(served, question, row)
                for question, row in zip(questions, found, strict=True)
            }
            usage = {"input_tokens": await served.tokens(texts) * len(asked), "output_tokens": 0}
            return JSONResponse({"model": served.name, "answers": said, "usage": usage})

    return routes


def _width(served: Served, wanted: int | None) -> int | None:
    """To how many numbers a vector is cut. Raises `Refusal` where the embedder was not trained to be cut there."""
    if wanted is None:
        return None
    embedder: Any = served.model.predictor
    whole = int(embedder.model.encoder.config.hidden_size)
    fitting = sorted({whole, *served.model.spec.get("ranking_loss", {}).get("dimensions", [])})
    if wanted not in fitting:
        said = f"dimensions is {wanted}, and {served.name} was trained for {', '.join(map(str, fitting))}"
        raise Refusal(422, "unknown_dimensions", said, "dimensions", wanted)
    return None if wanted == whole else wanted


def _cut(vector: np.ndarray, width: int | None) -> np.ndarray:
    """The first `width` numbers, of length 1 again."""
    if width is None:
        return vector
    short: np.ndarray = vector[:width] / np.linalg.norm(vector[:width])
    return short


def _written(vector: np.ndarray, encoding: str) -> Any:
    return vector.tolist() if encoding == "float" else base64.b64encode(vector.astype("<f4").tobytes()).decode()
