"""The half of the Hugging Face hub that takes models: repositories, commits and large files, as huggingface_hub asks.

Large files go by LFS, in parts where they are above `PART`; xet, the hub's newer storage, is not here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.hub_server import Answer, git_hash, sha256
from tests.support.uploads import UploadAnswer, Uploads

PART = 100_000
"""Bytes above which a large file comes in parts."""
LARGE = (".safetensors", ".skops", ".onnx")


@dataclass
class Repository:
    """One repository; `commits`: what each changed, name -> added or deleted."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.safetensors filter=lfs\n"})
    commits: list[dict[str, str]] = field(default_factory=list)

    @property
    def head(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class UploadHub(Uploads):
    """The hub."""

    token: str | None = "hf_secret"

    def answering(self) -> type[Answer]:
        return HubAnswer


class HubAnswer(UploadAnswer):
    """One answer of it."""

    def routes(self) -> dict[str, Callable[..., None]]:
        return {
            "POST /api/repos/create": self.create,
            "POST /api/validate-yaml": self.validate,
            "GET /api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?": self.info,
            "GET /api/models/([^/]+/[^/]+)/tree/([^/]+)": self.tree,
            "POST /api/models/([^/]+/[^/]+)/preupload/main": self.preupload,
            "POST /api/models/([^/]+/[^/]+)/commit/main": self.commit,
            r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch": self.batch,
            "PUT /lfs/(.+)": self.put,
            "POST /lfs/([^/]+)/complete": self.complete,
            "POST /lfs/verify": self.verify,
            "(?:HEAD|GET) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self.resolve,
        }

    def needs_token(self, path: str) -> bool:  # a signed address asks for none
        return not path.startswith("/lfs/") or path == "/lfs/verify"

    def refuse(self, status: int, said: str) -> None:
        self.send(status, b"", {"X-Error-Message": said})

    def put(self, name: str) -> None:
        self.stored(name, self.content)

    def repository(self, name: str) -> Repository | None:
        """The repository of a name; where there is none, the answer is given."""
        found: Repository | None = self.hub.repos.get(name)
        if found is None:
            self.send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        return found

    def create(self) -> None:
        asked = json.loads(self.content)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.hub.owners:
            said = f'You don\'t have the rights to create a model under the namespace "{asked["organization"]}"'
            self.send(403, b"", {"X-Error-Message": said})
        elif name in self.hub.repos:
            self.send(409, b"", {"X-Error-Message": "You already created this model repo"})
        else:
            self.hub.repos[name] = Repository(asked.get("visibility") == "private" or asked.get("private") is True)
            self.json({"url": f"{self.hub.url}/{name}", "name": name})

    def validate(self) -> None:
        self.json({"errors": [], "warnings": []})

    def info(self, name: str, revision: str | None) -> None:
        if found := self.repository(name):
            siblings = [self.sibling(file, data) for file, data in found.files.items()]
            self.json({"id": name, "private": found.private, "sha": found.head, "siblings": siblings})

    def sibling(self, name: str, data: bytes) -> dict[str, Any]:
        told: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_hash(data)}
        return told | ({"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134}} if _large(name) else {})

    def tree(self, name: str, revision: str) -> None:
        if found := self.repository(name):
            self.json([self.entry(file, data) for file, data in found.files.items()])

    def entry(self, file: str, data: bytes) -> dict[str, Any]:
        told: dict[str, Any] = {"type": "file", "path": file, "size": len(data), "oid": git_hash(data)}
        return told | ({"lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 134}} if _large(file) else {})

    def preupload(self, name: str) -> None:
        if found := self.repository(name):
            files = []
            for asked in json.loads(self.content)["files"]:
                file = asked["path"]
                had = found.files.get(file)
                digest = None if had is None else sha256(had) if _large(file) else git_hash(had)
                mode = "lfs" if _large(file) else "regular"
                files.append({"path": file, "uploadMode": mode, "shouldIgnore": False, "oid": digest})
            self.json({"files": files})

    def batch(self, name: str) -> None:
        objects = []
        for one in json.loads(self.content)["objects"]:
            told = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.store:
                place, header = f"{self.hub.url}/lfs/{one['oid']}", {}
                if one["size"] > PART:
                    count = -(-one["size"] // PART)
                    header = {str(part): f"{place}/{part}" for part in range(1, count + 1)} | {"chunk_size": str(PART)}
                    place += "/complete"
                told["actions"] = {"upload": {"href": place, "header": header}}
                told["actions"]["verify"] = {"href": f"{self.hub.url}/lfs/verify"}
            objects.append(told)
        self.json({"transfer": "basic", "objects": objects})

    def stored(self, name: str, body: bytes) -> None:
        if "/" not in name and sha256(body) != name:
            self.send(400, b"")
            return
        self.hub.store[name] = body
        self.send(200, b"", {"ETag": f'"{sha256(body)}"'})

    def complete(self, digest: str) -> None:
        parts = [self.hub.store.pop(f"{digest}/{part['partNumber']}") for part in json.loads(self.content)["parts"]]
        self.stored(digest, b"".join(parts))

    def verify(self) -> None:
        asked = json.loads(self.content)
        self.send(200 if len(self.hub.store[asked["oid"]]) == asked["size"] else 400, b"")

    def commit(self, name: str) -> None:
        if found := self.repository(name):
            changed: dict[str, str] = {}
            for line in self.content.decode().splitlines():
                one = json.loads(line)
                value = one["value"]
                if one["key"] == "file":
                    found.files[value["path"]] = base64.b64decode(value["content"])
                elif one["key"] == "lfsFile":
                    found.files[value["path"]] = self.hub.store[value["oid"]]
                elif one["key"] == "deletedFile":
                    del found.files[value["path"]]
                if one["key"] != "header":
                    changed[value["path"]] = "deleted" if one["key"] == "deletedFile" else "added"
            found.commits.append(changed)
            self.json({"commitUrl": f"{self.hub.url}/{name}/commit/{found.head}", "commitOid": found.head})

    def resolve(self, name: str, revision: str, file: str) -> None:
        if found := self.repository(name):
            if (data := found.files.get(file)) is None:
                self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found.head})
                return
            digest = sha256(data) if _large(file) else git_hash(data)
            head = {"X-Repo-Commit": found.head, "ETag": f'"{digest}"', "Content-Length": str(len(data))}
            self.send(200, b"" if self.command == "HEAD" else data, head)


def _large(file: str) -> bool:
    return file.endswith(LARGE)
