"""A checkpoint or data set of the Hugging Face hub; HF_ENDPOINT (a mirror) and HF_TOKEN are honoured.

Two addresses of the hub are used: `/api/models/REPO/revision/REVISION?blobs=true` tells the commit and each file's hash
(SHA-256 for large files, git's for small ones), `/REPO/resolve/COMMIT/FILE` brings a file.
"""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import quote

from retune.errors import RetuneError
from retune.params import Params
from retune.sources import http
from retune.sources.allowed_files import chosen

HUB = "https://huggingface.co"
BOT, TITLE = "SFconvertbot", "Adding `safetensors` variant of this model"
"""The hub's own robot, and the title of the pull requests in which it converts pickled weights."""


def snapshot(source: Params, *, data: bool) -> tuple[str, list[http.Remote]]:
    """Return the commit that `source.revision` means now, and the files to fetch from it.

    A checkpoint that has pickled weights only is taken from the pull request in which the hub's robot converted them;
    where there is none, `RetuneError` is raised.
    """
    info = _info(source, source.get("revision") or "main", data=data)
    if not data and not any(file["rfilename"].endswith(".safetensors") for file in info["siblings"]):
        info = _converted(source) or info
    wanted = set(chosen([file["rfilename"] for file in info["siblings"]], source.get("files"), data=data))
    files = [file for file in info["siblings"] if file["rfilename"] in wanted]
    return info["sha"], [_remote(source, info["sha"], file, data=data) for file in files]


def commit(source: Params, *, data: bool) -> str:
    """Return the commit that `source.revision` means now."""
    return str(_info(source, source.get("revision") or "main", data=data)["sha"])


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _headers() -> dict[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _info(source: Params, revision: str, *, data: bool) -> dict[str, Any]:
    kind = "datasets" if data else "models"
    url = f"{_endpoint()}/api/{kind}/{source.repo}/revision/{quote(revision, safe='')}"
    return dict(http.get_json(url, {"blobs": "true"}, _headers(), "HF_TOKEN"))


def _converted(source: Params) -> dict[str, Any] | None:
    """Look up the head of the conversion robot's pull request, if it made one that was not rejected."""
    url = f"{_endpoint()}/api/models/{source.repo}/discussions"
    query = {"type": "pull_request", "author": BOT}
    for entry in http.get_json(url, query, _headers(), "HF_TOKEN")["discussions"]:
        if entry["author"]["name"] == BOT and entry["title"] == TITLE and entry["status"] in {"open", "merged"}:
            info = _info(source, f"refs/pr/{entry['num']}", data=False)
            logging.getLogger("retune").warning(
                "%s has no safetensors at `%s`: taking the hub's own conversion, pull request %d, commit %s",
                source.repo, source.get("revision"), entry["num"], info["sha"],
            )  # fmt: skip
            return info
    return None


def _remote(source: Params, commit: str, file: dict[str, Any], *, data: bool) -> http.Remote:
    name, large = file["rfilename"], file.get("lfs")
    if not large and not file.get("blobId"):
        raise RetuneError(
            f"{source.repo}: the hub gives no hash of {name}, so it can't be checked; set HF_ENDPOINT to a full mirror"
        )
    return http.Remote(
        url=f"{_endpoint()}/{'datasets/' if data else ''}{source.repo}/resolve/{commit}/{quote(name)}",
        name=name,
        digest=large["sha256"] if large else file["blobId"],
        algorithm="sha256" if large else "git",
        size=large["size"] if large else file.get("size"),
        headers=_headers(),
        token="HF_TOKEN",
    )
