"""The comments of one pull request on GitHub, or the notes of one merge request on GitLab, behind their API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse


class Comments:
    """What stands in the pull request, and every request that came, as (method, path, token)."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.address = ""

    def add(self, body: str, login: str) -> dict[str, Any]:
        """A comment by somebody."""
        comment = {"id": 100 + len(self.listed), "body": body, "user": {"login": login}}
        self.listed.append(comment)
        return comment


@contextmanager
def served(bot: str = "github-actions[bot]") -> Iterator[Comments]:
    """A server whose comments are written by `bot`."""
    comments = Comments()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            where = urlparse(self.path)
            token = self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN") or ""
            comments.asked.append((self.command, where.path, token))
            length = int(self.headers.get("Content-Length") or 0)
            given = json.loads(self.rfile.read(length)) if length else {}
            found: Any
            if self.command == "GET":
                query = {key: int(values[0]) for key, values in parse_qs(where.query).items()}
                start = query["per_page"] * (query["page"] - 1)
                found = comments.listed[start : start + query["per_page"]]
            elif self.command == "POST":
                found = comments.add(given["body"], bot)
            else:
                found = next(one for one in comments.listed if str(one["id"]) == where.path.rpartition("/")[2])
                found["body"] = given["body"]
            content = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    comments.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield comments
    finally:
        server.shutdown()
        server.server_close()
