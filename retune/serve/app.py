"""The application: the routes of some served models, behind the middleware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from retune import __version__
from retune.serve import client_routes, retrieval_routes, typed_routes
from retune.serve.middleware import Middleware, State, failed
from retune.serve.refusal import Refusal

if TYPE_CHECKING:
    from retune.serve.metrics import Metrics
    from retune.serve.options import Options
    from retune.serve.served import Served

SHOWN = 5
"""Mistakes of one request that are told."""


def create(
    models: Sequence[Served], options: Options, tokens: Sequence[bytes], metrics: Metrics, state: State
) -> Middleware:
    """What uvicorn runs: the routes that these models can answer."""
    names = ", ".join(one.name for one in models)
    app = FastAPI(title="Retune", version=__version__, description=f"Models: {names}", docs_url=None, redoc_url=None)
    for routes in (retrieval_routes, typed_routes, client_routes):
        app.include_router(routes.router(models))

    @app.get("/health", tags=["server"])
    async def health() -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", tags=["server"], responses={503: {"description": "the server ends"}})
    async def ready() -> JSONResponse:
        """Whether requests may be sent here: the models are loaded, and the server does not end."""
        said = "draining" if state.draining else "ready"
        return JSONResponse({"status": said, "models": [one.name for one in models]}, 503 if state.draining else 200)

    @app.get("/metrics", tags=["server"], response_class=Response)
    async def prometheus() -> Response:
        """Counts and times, for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return Middleware(app, options, tokens, metrics, state)


async def _refused(request: Request, error: Any) -> JSONResponse:
    response: JSONResponse = error.response()
    return response


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return failed().response()


async def _invalid(request: Request, error: Any) -> JSONResponse:
    """What pydantic says of a body, without the values: they are a user's text, and may be no JSON."""
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        place = found[0]["loc"][-1]
        return Refusal(400, "invalid_json", f"the body is no JSON (at character {place})").response()
    told = [f"{_place(one['loc'])}: {one['msg']}" for one in found[:SHOWN]]
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return Refusal(422, "invalid_body", "; ".join(told) + more, _place(found[0]["loc"])).response()


def _place(loc: Sequence[Any]) -> str:
    """`('body', 'texts', 3)` -> `texts[3]`; a key that a user made up is cut."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{str(part)[:40]}" for part in loc[1:]]
    return "".join(parts).removeprefix(".").encode(errors="replace").decode() or "the body"


async def _http(request: Request, error: Any) -> JSONResponse:
    said = {
        400: "the body could not be read as JSON",
        404: "there is no such route: /openapi.json lists those of the served models",
        405: "this route is asked by another method: see /openapi.json",
    }
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    response = Refusal(error.status_code, code, said.get(error.status_code, str(error.detail))).response()
    response.headers.update(error.headers or {})
    return response
