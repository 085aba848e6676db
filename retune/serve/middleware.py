"""What stands before the routes: the token, the whole body within its limits, the count of requests, the last error."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import traceback
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from retune.serve import access
from retune.serve.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from retune.serve.metrics import Metrics
    from retune.serve.options import Options

log = logging.getLogger("retune")

OPEN = ("/health", "/ready")
"""Routes that need no token: whatever restarts a server asks them."""


HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
"""How JSON writes a character in two halves."""


class State:
    """Whether the server ends: it answers what comes on open connections, and closes these."""

    draining = False


class Middleware:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, options: Options, tokens: Sequence[bytes], metrics: Metrics, state: State) -> None:
        self.app, self.options, self.tokens, self.metrics, self.state = app, options, tokens, metrics, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens; the log has no text of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.state.draining:
                    message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        try:
            self._authorise(scope)
            await self.app(scope, await self._whole(scope, receive), answer)
        except Refusal as refusal:
            await refusal.response()(scope, receive, answer)
        except Exception as error:
            log.error("%s %s: %s", scope["method"], _route(scope), told(error))
            if not status:
                await failed().response()(scope, receive, answer)
        seconds = time.perf_counter() - start
        self.metrics.request(_route(scope), status, seconds)
        if self.options.access_log:
            log.info("%s %s %d %.1f ms", scope["method"], _route(scope), status, 1000 * seconds)

    def _authorise(self, scope: Scope) -> None:
        if not self.tokens or scope["path"] in OPEN:
            return
        header = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if not access.allowed(header, self.tokens):
            raise Refusal(401, "unauthorized", "give `Authorization: Bearer TOKEN` with a token of this server")

    async def _whole(self, scope: Scope, receive: Receive) -> Receive:
        """The body, read to its end, as what the application receives."""
        limit = self.options.max_body
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if declared.isdigit() and int(declared) > limit:
            raise _too_long(int(declared), limit)
        parts: list[bytes] = []
        length, more = 0, True
        try:
            async with asyncio.timeout(self.options.timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    length, more = length + len(parts[-1]), message.get("more_body", False)
                    if length > limit:
                        raise _too_long(length, limit)
        except TimeoutError:
            said = f"the body did not come within {self.options.timeout:g} seconds (--timeout)"
            raise Refusal(408, "slow_body", said, None, None, self.options.timeout) from None
        body = b"".join(parts)
        if HALVES.search(body):
            _check_unicode(body)
        whole: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay


def _check_unicode(body: bytes) -> None:
    """Raise `Refusal` for half a character, which JSON can write and no text may have."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        said = r"the body has half of a surrogate pair (a \uD800 to \uDFFF alone), which is no character"
        raise Refusal(422, "invalid_unicode", said) from None
    except (ValueError, RecursionError):
        return  # no JSON, which is told later


def _too_long(length: int, limit: int) -> Refusal:
    said = f"the body has at least {length:,} bytes, more than the {limit:,} of one request (--max-body)"
    return Refusal(413, "body_too_large", said, None, length, limit)


def failed() -> Refusal:
    """The answer to what should not have happened."""
    return Refusal(500, "internal_error", "the server failed; its log says where")


def told(error: Exception) -> str:
    """An error by its type and the places in the code: its message may hold a user's text."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
    return f"{type(error).__name__} at {' > '.join(places)}"


def _route(scope: Scope) -> str:
    """The route that was asked, and not what a user wrote."""
    return str(getattr(scope.get("route"), "path", "other"))
