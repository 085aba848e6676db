"""What stands before the page: who may ask, from which page, which routes there are, how much is read.

Gradio has many routes; those that the page does not need (its API, its files, its proxy, its monitoring) are closed.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
import re
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi.responses import PlainTextResponse

from retune.serve import access
from retune.web.words import LANGUAGES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("retune")

BODY = 4 * 2**20
"""Bytes of a request that is no upload: beyond the longest texts of one."""
ENVELOPE = 2**16
"""Bytes of an upload that are not its file."""

ROUTES = re.compile(
    rf"/(?:health|favicon\.ico|manifest\.json|results/[\w-]+/[\w-]+\.(?:csv|jsonl)|{'|'.join(LANGUAGES)})?"
    rf"|/(?:{'|'.join(LANGUAGES)})/(?:config|theme\.css"
    r"|(?:assets|static)/[\w./-]+|gradio_api/(?:queue/(?:join|data)|upload|upload_progress|startup-events|run/predict"
    r"|cancel|reset|heartbeat/\w+))?",
    re.ASCII,
)
UPLOAD = "/gradio_api/upload"

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""The browser itself asks nobody else, and shows the page in no other one. Gradio's own scripts need `unsafe`."""


class Guard:
    """An ASGI application around the page.

    `tokens`: passwords, of which one must be given where there are any; `anywhere`: whether the page may be asked for
    by any name of this machine; `upload`: bytes of a file.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[bytes], anywhere: bool, upload: int) -> None:
        self.app, self.tokens, self.anywhere, self.upload = app, tokens, anywhere, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it in a sentence; the log has no text of it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        refused = self._refused(scope)
        try:
            await (refused or self.app)(scope, receive, answer)
        except Exception as error:
            log.error("%s", told(error))
            if not started:
                await PlainTextResponse("the server failed; its log says where", 500)(scope, receive, answer)

    def _refused(self, scope: Scope) -> PlainTextResponse | None:
        """Why a request is not answered; None where it is."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path, host = scope["path"], headers.get("host", "")
        if path == "/health":
            return None
        if not self.tokens and not self.anywhere and not _is_here(host):
            return _refusal(403, "this page is for this machine alone: ask for it as 127.0.0.1 or localhost")
        if self.tokens and not _allowed(headers.get("authorization", ""), self.tokens):
            answer = _refusal(401, f"give any name, and as the password a token of {access.TOKENS}")
            answer.headers["www-authenticate"] = 'Basic realm="retune", charset="UTF-8"'
            return answer
        if (origin := headers.get("origin")) and urlsplit(origin).netloc != headers.get("x-forwarded-host", host):
            return _refusal(403, "this page is not asked from other pages")
        if not ROUTES.fullmatch(path) or ".." in path or scope["method"] not in ("GET", "HEAD", "POST"):
            return _refusal(404, "there is nothing here; the page is at /")
        if scope["method"] == "POST":
            limit = self.upload + ENVELOPE if path.endswith(UPLOAD) else BODY
            length = headers.get("content-length", "")
            if not length.isdigit():
                return _refusal(411, "a request must say its length")
            if int(length) > limit:
                return _refusal(413, f"the request has {int(length):,} bytes, more than the {limit:,} that are read")
        return None


def _refusal(status: int, said: str) -> PlainTextResponse:
    headers = {"connection": "close"} if status in (401, 411, 413) else None  # a body was not read
    return PlainTextResponse(said + "\n", status, headers)


def _allowed(header: str, tokens: Sequence[bytes]) -> bool:
    """Whether a header bears a token: as the password of a browser's dialogue, or as `retune serve` takes it."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            password = base64.b64decode(given.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        return access.allowed(b"Bearer " + password, tokens)
    return access.allowed(header.encode("latin-1"), tokens)


def _is_here(host: str) -> bool:
    """Whether a page was asked for by a name of this machine: another name may be a stranger's that leads here."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def told(error: BaseException) -> str:
    """An error by its type and the places in the code: its message may hold a user's text."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
    return f"{type(error).__name__} at {' > '.join(places)}"
