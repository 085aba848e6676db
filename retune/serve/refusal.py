"""A request that is not answered: status, and a JSON body that says why, in the shape that OpenAI's clients read."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from retune.errors import RetuneError


class Refusal(Exception):
    """Why a request is refused: the message names value, place, limit and remedy, and never a text of the request."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        value: float | None = None,
        limit: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param, self.value, self.limit = param, value, limit

    def response(self) -> JSONResponse:
        """The answer; one that is worth trying again says when."""
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        body: dict[str, Any] = {"message": self.message, "type": kind, "code": self.code, "param": self.param}
        body |= {name: found for name in ("value", "limit") if (found := getattr(self, name)) is not None}
        headers = {}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status in (429, 503):
            headers["retry-after"] = "1"
        if self.status in (401, 408, 413):
            headers["connection"] = "close"  # its body was not read
        return JSONResponse({"error": body}, self.status, headers)


class Unavailable(RetuneError):
    """What answers for a model elsewhere does not; `status` is what a caller is told. No text of a request is in it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ErrorDetail(BaseModel):
    """Why a request was refused."""

    message: str
    type: str
    code: str
    param: str | None = None
    value: float | None = Field(None, description="what broke the limit")
    limit: float | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is none."""

    error: ErrorDetail


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "the body is no JSON",
        401: "the bearer token is missing or wrong",
        404: "no such model",
        408: "the body did not come in time",
        413: "the body is too long",
        422: "a value is not what it must be, or beyond a limit",
        429: "too much is waiting: try again",
        502: "the engine behind this server failed",
        503: "memory ran out, the server ends, or the engine behind it can't be reached",
        504: "it was not answered in time",
    }.items()
}
