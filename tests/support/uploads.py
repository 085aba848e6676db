"""What hubs that take models have in common: who may write, routes by patterns, refusals; and how tests publish."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.command_line import printed
from tests.support.hub_server import Answer, Hub, Request


@dataclass
class Uploads(Hub):
    """`token` belongs to a member of `owners`; `refusals`: `METHOD path` (a pattern) -> status and words, always.

    `repos`: name -> repository, of the hub's own class; `store`: large files by their SHA-256.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    owners: tuple[str, ...] = ("team",)
    repos: dict[str, Any] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)


class UploadAnswer(Answer, abc.ABC):
    """One answer: a refusal, or by the first route whose pattern is `METHOD path`; `content` and `query` were sent."""

    hub: Uploads
    content: bytes
    query: dict[str, str]

    @abc.abstractmethod
    def routes(self) -> dict[str, Callable[..., None]]:
        """Pattern -> what answers its groups."""

    @abc.abstractmethod
    def refuse(self, status: int, said: str) -> None:
        """Answer with an error, in the hub's own form."""

    def needs_token(self, path: str) -> bool:
        return True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.content, asked = self.body(), f"{self.command} {path}"
        self.hub.seen.append(Request(asked, self.query, dict(self.headers)))
        for pattern, (status, said) in self.hub.refusals.items():
            if re.fullmatch(pattern, asked):
                self.refuse(status, said)
                return
        if self.needs_token(path) and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.refuse(401, "Invalid credentials in Authorization header")
            return
        for pattern, route in self.routes().items():
            if match := re.fullmatch(pattern, asked):
                route(*match.groups())
                return
        self.refuse(404, f"nothing at {path}")

    do_HEAD = do_POST = do_PUT = do_GET

    def body(self) -> bytes:
        """What was sent, in one piece or chunk by chunk."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


def publish(export: Path, token: str, *arguments: str, fails: bool = False) -> str:
    """What `retune publish` says: never the token, never a traceback."""
    said = printed(export.parents[1], "publish", "intent", *arguments, fails=fails)
    assert token not in said
    assert "Traceback" not in said
    return said
