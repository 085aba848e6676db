"""A checkpoint or data set of ModelScope; MODELSCOPE_ENDPOINT and MODELSCOPE_API_TOKEN are honoured.

Plain HTTP: `/api/v1/models/REPO/repo/files` lists the files of a revision with their SHA-256, page by page
`/api/v1/datasets/REPO/repo/tree` those of a data set; `.../repo?Revision=&FilePath=` brings one.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlencode

from retune.errors import RetuneError
from retune.params import Params
from retune.sources import http
from retune.sources.allowed_files import chosen

HUB = "https://modelscope.cn"
DEFAULT_REVISION = "master"
LISTED = 3000
"""The server cuts a longer list of a checkpoint's files without saying so."""
PAGE = 200


def snapshot(source: Params, *, data: bool) -> tuple[str, list[http.Remote]]:
    """Return the commit that `source.revision` means now (empty where the server hides it), and the files to fetch."""
    listing, latest = _listing(source, data=data)
    wanted = set(chosen([file["Path"] for file in listing], source.get("files"), data=data))
    head = _head(listing, latest)
    files = [file for file in listing if file["Path"] in wanted]
    return head, [_remote(source, head or _revision(source), file, data=data) for file in files]


def commit(source: Params, *, data: bool) -> str:
    """Return the commit that `source.revision` means now; raises `RetuneError` where the server does not tell."""
    head = _head(*_listing(source, data=data))
    if not head:
        raise RetuneError(
            f"ModelScope does not tell the commit of {source.repo} at `{_revision(source)}`: keep the branch"
        )
    return head


def _revision(source: Params) -> str:
    return str(source.get("revision") or DEFAULT_REVISION)


def _address(source: Params, *, data: bool) -> str:
    endpoint = (os.environ.get("MODELSCOPE_ENDPOINT") or HUB).rstrip("/")
    return f"{endpoint}/api/v1/{'datasets' if data else 'models'}/{source.repo}/repo"


def _headers() -> dict[str, str]:
    """Older addresses read the cookie, newer ones the bearer."""
    token = os.environ.get("MODELSCOPE_API_TOKEN")
    return {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"} if token else {}


def _listing(source: Params, *, data: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """List the files of the revision, and its last commit as far as the server tells it."""
    query: dict[str, Any] = {"Revision": _revision(source), "Recursive": "True"}
    if not data:
        files, latest = _page(source, f"{_address(source, data=False)}/files", query)
        if len(files) >= LISTED:
            raise RetuneError(
                f"{source.repo} has {LISTED} files or more, which ModelScope does not list in full: use another hub"
            )
        return [file for file in files if file["Type"] == "blob"], latest
    found: list[dict[str, Any]] = []
    for number in range(1, 10_000):
        files, latest = _page(
            source, f"{_address(source, data=True)}/tree", query | {"PageNumber": number, "PageSize": PAGE}
        )
        found += files
        if len(files) < PAGE:
            break
    return [file for file in found if file["Type"] == "blob"], latest


def _page(source: Params, url: str, query: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    answer = http.get_json(url, query, _headers(), "MODELSCOPE_API_TOKEN")
    content = answer.get("Data") or {}
    if answer.get("Code", 200) != 200 or content.get("Files") is None:  # an unknown revision is a success without files
        reason = answer.get("Message", "no reason given")
        raise RetuneError(
            f"ModelScope lists nothing of {source.repo} at `{_revision(source)}` ({reason}): "
            "correct `repo` and `revision` in the catalog"
        )
    return content["Files"], content.get("LatestCommitter") or {}


def _head(listing: list[dict[str, Any]], latest: dict[str, Any]) -> str:
    """Find the commit of a listing: often only its first letters are told, and a file of that commit has it whole."""
    if latest.get("Id"):
        return str(latest["Id"])
    short = latest.get("ShortId")
    whole = {str(file.get("Revision")) for file in listing if short and str(file.get("Revision")).startswith(short)}
    return whole.pop() if len(whole) == 1 else ""


def _remote(source: Params, revision: str, file: dict[str, Any], *, data: bool) -> http.Remote:
    if not file.get("Sha256"):
        raise RetuneError(
            f"{source.repo}: ModelScope gives no SHA-256 of {file['Path']}, so it can't be checked; use another hub"
        )
    query = urlencode({"Revision": revision, "FilePath": file["Path"]})
    return http.Remote(
        url=f"{_address(source, data=data)}?{query}",
        name=file["Path"],
        digest=file["Sha256"],
        size=file.get("Size"),
        headers=_headers(),
        token="MODELSCOPE_API_TOKEN",
    )
