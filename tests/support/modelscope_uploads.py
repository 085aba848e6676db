"""The half of ModelScope that takes models, as the client `modelscope_hub` asks it; made after the client's source."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.hub_server import COMMIT, Answer, sha256
from tests.support.uploads import UploadAnswer, Uploads


@dataclass
class Repository:
    """One repository; `visibility` is 1 (private) or 5 (public)."""

    visibility: int
    licence: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"", "configuration.json": b"{}"})


@dataclass
class ModelScopeHub(Uploads):
    """The hub."""

    token: str | None = "ms_secret"

    def answering(self) -> type[Answer]:
        return ModelScopeAnswer


class ModelScopeAnswer(UploadAnswer):
    """One answer of it."""

    def routes(self) -> dict[str, Callable[..., None]]:
        name = "([^/]+/[^/]+)"
        return {
            f"GET /openapi/v1/models/{name}": self.info,
            f"GET /api/v1/models/{name}": self.info,
            "POST /api/v1/models": self.create,
            f"GET /api/v1/models/{name}/repo/files": self.listed,
            f"GET /api/v1/models/{name}/repo": self.file,
            f"POST /api/v1/repos/models/{name}/info/lfs/objects/batch": self.batch,
            f"POST /api/v1/repos/models/{name}/commit/master": self.commit,
            "PUT /blob/(.+)": self.blob,
        }

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
