"""The half of ModelScope that takes models, as the client `modelscope_hub` asks it; made after the client's source."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.hub_server import COMMIT, Answer, Hub, Request, sha256


@dataclass
class Repository:
    """One repository; `visibility` is 1 (private) or 5 (public)."""

    visibility: int
    licence: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"", "configuration.json": b"{}"})


@dataclass
class ModelScopeHub(Hub):
    """`token` belongs to a member of `owners`; `refusals`: `METHOD path` (a pattern) -> status and words, always."""

    files: dict[str, bytes] = field(default_factory=dict)
    token: str | None = "ms_secret"
    owners: tuple[str, ...] = ("team",)
    repos: dict[str, Repository] = field(default_factory=dict)
    store: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)

    def answering(self) -> type[Answer]:
        return ModelScopeAnswer


class ModelScopeAnswer(Answer):
    """One answer of it."""

    hub: ModelScopeHub

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.seen.append(Request(f"{self.command} {path}", query, dict(self.headers)))
        for pattern, (status, said) in self.hub.refusals.items():
            if re.fullmatch(pattern, f"{self.command} {path}"):
                self.refuse(status, said)
                return
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.refuse(401, "token is invalid")
            return
        name = "([^/]+/[^/]+)"
        routes: dict[str, Callable[..., None]] = {
            f"GET /openapi/v1/models/{name}": self.info,
            f"GET /api/v1/models/{name}": self.info,
            "POST /api/v1/models": self.create,
            f"GET /api/v1/models/{name}/repo/files": self.listed,
            f"GET /api/v1/models/{name}/repo": self.file,
            f"POST /api/v1/repos/models/{name}/info/lfs/objects/batch": self.batch,
            f"POST /api/v1/repos/models/{name}/commit/master": self.commit,
            "PUT /blob/(.+)": self.blob,
        }
        for pattern, route in routes.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                self.query = query
                route(*match.groups())
                return
        self.refuse(404, f"nothing at {path}")

    def refuse(self, status: int, said: str) -> None:
        body = json.dumps({"Code": 10_000 + status, "Message": said, "Success": False}).encode()
        self.send(status, body, {"Content-Type": "application/json"})

    def told(self, data: Any) -> None:
        self.json({"Code": 200, "Data": data, "data": data, "Message": "", "Success": True, "success": True})

    def info(self, name: str) -> None:
        if name not in self.hub.repos:
            self.refuse(404, "record not found")
        else:
            self.told({"Path": name.partition("/")[0], "Visibility": self.hub.repos[name].visibility})

    def create(self) -> None:
        asked = json.loads(self.content)
        if asked["Path"] not in self.hub.owners:
            self.refuse(403, "no permission of this namespace")
        elif f"{asked['Path']}/{asked['Name']}" in self.hub.repos:  # the client asks again before it uploads
            self.refuse(400, "model already exists")
        else:
            name = f"{asked['Path']}/{asked['Name']}"
            self.hub.repos[name] = Repository(asked["Visibility"], asked["License"])
            self.told({"Name": asked["Name"]})

    def listed(self, name: str) -> None:
        files = [
            {"Type": "blob", "Path": path, "Name": path, "Size": len(data), "Sha256": sha256(data), "Revision": COMMIT}
            for path, data in self.hub.repos[name].files.items()
        ]
        self.told({"Files": files})

    def file(self, name: str) -> None:
        self.send(200, self.hub.repos[name].files[self.query["FilePath"]])

    def batch(self, name: str) -> None:
        objects = []
        for one in json.loads(self.content)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/blob/{one['oid']}"}}
            objects.append({"oid": one["oid"], "actions": {} if one["oid"] in self.hub.store else upload})
        self.told({"objects": objects})

    def blob(self, digest: str) -> None:
        assert hashlib.sha256(self.content).hexdigest() == digest
        self.hub.store[digest] = self.content
        self.told({})

    def commit(self, name: str) -> None:
        files = self.hub.repos[name].files
        for one in json.loads(self.content)["actions"]:
            if one["action"] == "delete":
                del files[one["path"]]
            elif one["type"] == "lfs":
                files[one["path"]] = self.hub.store[one["sha256"]]
            else:
                files[one["path"]] = base64.b64decode(one["content"])
        self.told({"CommitId": COMMIT})
