"""A small model hub on this machine: the answers of the Hugging Face hub and ModelScope, and the faults of networks."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT, PULL = "a" * 39 + "1", "b" * 39 + "2"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Request:
    """One request as the server saw it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Hub:
    """`files` by name; `pull` those of the robot's pull request; `faults` are used up one by one by file requests."""

    files: dict[str, bytes]
    pull: dict[str, bytes] | None = None
    token: str | None = None
    faults: list[Callable[[Answer, bytes], None]] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    latest: dict[str, Any] = field(default_factory=lambda: {"Id": "", "ShortId": COMMIT[:8]})
    url: str = ""

    def downloads(self) -> list[Request]:
        """The requests for bytes of files."""
        return [
            request
            for request in self.seen
            if request.path.startswith(("/file/", "/cdn/")) or "FilePath" in request.query
        ]

    def answering(self) -> type[Answer]:
        """The class of its answers."""
        return Answer

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve on a free port; `url` is set."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (self.answering(),), {"hub": self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Answer(BaseHTTPRequestHandler):
    """One answer of the hub."""

    hub: Hub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.hub.seen.append(Request(path, query, dict(self.headers)))
        allowed = self.hub.token is None or self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if not allowed and not path.startswith("/cdn/"):
            self.send(401, b"", {"X-Error-Message": "Access is restricted"})
        elif "/revision/" in path:
            self.revision(path.rpartition("/revision/")[2])
        elif path.endswith("/discussions"):
            robot = {"num": 7, "title": "Adding `safetensors` variant of this model", "status": "open"}
            found = [robot | {"author": {"name": "SFconvertbot"}}] if self.hub.pull else []
            self.json({"discussions": found, "count": len(found), "start": 0})
        elif "/resolve/" in path:
            commit, _, name = path.rpartition("/resolve/")[2].partition("/")
            files = self.hub.pull if commit == PULL and self.hub.pull else self.hub.files
            self.send(302, b"", {"Location": f"/cdn/{sha256(files[name])}", "X-Repo-Commit": commit})
        elif path.startswith("/cdn/"):
            every = [*self.hub.files.values(), *(self.hub.pull or {}).values()]
            self.bytes(next(data for data in every if sha256(data) == path[5:]))
        elif path.startswith("/file/"):
            self.bytes(self.hub.files[path[6:]])
        elif path.endswith(("/repo/files", "/repo/tree")):
            self.listing(query)
        elif path.endswith("/repo"):
            self.bytes(self.hub.files[query["FilePath"]])
        else:
            self.send(404, b"")

    def revision(self, name: str) -> None:
        commits = {"main": COMMIT, COMMIT: COMMIT} | ({"refs/pr/7": PULL, PULL: PULL} if self.hub.pull else {})
        if name not in commits:
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {name}"})
            return
        files = self.hub.pull if commits[name] == PULL and self.hub.pull else self.hub.files
        self.json({"sha": commits[name], "siblings": [self.sibling(name, data) for name, data in files.items()]})

    def sibling(self, name: str, data: bytes) -> dict[str, Any]:
        told: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_hash(data)}
        if name.endswith((".safetensors", ".bin")):
            told["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        return told

    def listing(self, query: dict[str, str]) -> None:
        known = query["Revision"] in {"master", COMMIT}
        files = [
            {"Type": "blob", "Path": name, "Size": len(data), "Sha256": sha256(data), "Revision": COMMIT}
            for name, data in self.hub.files.items()
        ]
        page, size = int(query.get("PageNumber", 1)), int(query.get("PageSize", 10_000))
        content = {
            "Files": [{"Type": "tree", "Path": "folder"}, *files][(page - 1) * size : page * size] if known else None
        }
        self.json({"Code": 200, "Data": content | {"LatestCommitter": self.hub.latest}, "Message": "", "Success": True})

    def bytes(self, data: bytes) -> None:
        if self.hub.faults:
            self.hub.faults.pop(0)(self, data)
        else:
            self.part(data)

    def part(self, data: bytes, cut: int | None = None) -> None:
        """The range that was asked for; `cut` ends the connection after that many bytes of it."""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start and start >= len(data):
            self.send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        head = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if "Range" in self.headers else {}
        self.send(206 if head else 200, data[start:], head, cut=cut)

    def json(self, content: Any) -> None:
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Keep the test output clean."""


def cut(after: int) -> Callable[[Answer, bytes], None]:
    """End the connection after some bytes."""
    return lambda answer, data: answer.part(data, cut=after)


def busy(retry_after: str | None = None, status: int = 503) -> Callable[[Answer, bytes], None]:
    """Refuse for now."""
    return lambda answer, _: answer.send(status, b"", {"Retry-After": retry_after} if retry_after else {})


def whole(answer: Answer, data: bytes) -> None:
    """Ignore the range and send everything."""
    answer.send(200, data)


def other(answer: Answer, data: bytes) -> None:
    """Send wrong bytes of the right length."""
    answer.part(bytes(len(data)))
