"""Uploads to ModelScope by its own client `modelscope_hub`; MODELSCOPE_ENDPOINT and MODELSCOPE_API_TOKEN are honoured.

The client is no dependency of Retune: `pip install modelscope_hub` (small, without a framework). It was tried (0.5.1)
against a server on this machine that answers as its source expects, and not against modelscope.cn: so what arrived is
compared with what was sent, and nothing is sent to a repository that does not say that it is private.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.exports import hashes
from retune.exports.folder import CARD
from retune.exports.parity import FILE
from retune.exports.publish import Export, check_owner, check_visibility

HUB = "https://modelscope.cn"
TOKENS = ("MODELSCOPE_API_TOKEN",)
TYPE = "model"


def address(repo: str) -> str:
    """The page of a repository."""
    return f"{_endpoint()}/models/{repo}"


def _endpoint() -> str:
    return (os.environ.get("MODELSCOPE_ENDPOINT") or HUB).rstrip("/")


def upload(export: Export, repo: str, public: bool, token: str) -> str:
    """Make the repository if it is not there, and upload; its page.

    One that is there must be an earlier publication of the same model, or empty: files of that which this export lacks
    are taken away, and no others. Raises `RetuneError` where the client is missing, for what the hub refuses, where it
    can't be reached, and where something else arrived than was sent.
    """
    try:
        from modelscope_hub import HubApi, errors
    except ImportError:
        raise RetuneError(
            "ms: needs ModelScope's client, which is not installed: `pip install modelscope_hub`"
        ) from None
    logging.getLogger("modelscope_hub").setLevel(logging.WARNING)  # it tells of each of its steps
    api = HubApi(endpoint=_endpoint(), token=token)
    try:
        try:
            found = api.get_repo(repo, TYPE)
        except errors.NotExistError:
            visibility = "public" if public else "private"
            api.create_repo(repo, TYPE, visibility=visibility, license=export.card.licence.hub)
            found = api.get_repo(repo, TYPE)
        gone = _checked(api, export, repo, public, found)
        api.upload_folder(repo, TYPE, export.folder, commit_message=f"{export.name}, by Retune", use_cache=False)
        if gone:
            api.delete_files(repo, TYPE, gone, commit_message=f"{export.name}, by Retune: files that it lacks")
        there = _files(api, repo)
    except RetuneError:
        raise
    except Exception as error:  # of the client and of requests
        raise RetuneError(_sentence(error, repo).replace(token, TOKENS[0])) from None
    if lost := [name for name, file in export.files.items() if there.get(name) != hashes.sha256(file)]:
        raise RetuneError(f"{address(repo)} does not have {lost[0]} as it was sent: run the same command again")
    return address(repo)


def _checked(api: Any, export: Export, repo: str, public: bool, found: Any) -> list[str]:
    """The files of an earlier publication that this one lacks, in a repository that may be written to."""
    if (seen := getattr(found.visibility, "label", None)) not in ("public", "private"):
        raise RetuneError(
            f"{address(repo)} is neither public nor private ({seen or 'not told'}): nothing is sent there"
        )
    check_visibility(seen == "private", public, address(repo))
    files = _files(api, repo)
    there = _json(api, repo, CARD) if CARD in files else None
    ours = {name: hashes.sha256(file) for name, file in export.files.items() if name in files}
    check_owner(export, there, {name for name, digest in files.items() if ours.get(name) != digest}, address(repo))
    earlier = _json(api, repo, FILE).get("files", {}) if FILE in files else {}
    return [name for name in earlier if name in files and name not in export.files]


def _files(api: Any, repo: str) -> dict[str, str]:
    """Name -> SHA-256 of what the repository has."""
    return {file.path: file.sha256 for file in api.list_repo_files(repo, TYPE) if file.type != "tree"}


def _json(api: Any, repo: str, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        file = api.download_file(repo, TYPE, name, local_dir=place)
        content: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        return content


def _sentence(error: Exception, repo: str) -> str:
    """What to do about an error of the client, in a sentence or two."""
    from modelscope_hub import errors

    owner, where = repo.partition("/")[0], address(repo)
    said = getattr(error, "message", None) or str(error)
    line = next((one.strip() for one in said.splitlines() if one.strip()), type(error).__name__)
    if isinstance(error, errors.AuthenticationError):
        return (
            f"ModelScope does not accept the token in {TOKENS[0]} ({line}): make one at {_endpoint()}/my/myaccesstoken"
        )
    if isinstance(error, errors.PermissionDeniedError):
        return f"the token in {TOKENS[0]} may not write to {where} ({line}): take one of `{owner}`, or of a member"
    if isinstance(error, errors.NotExistError):
        return f"ModelScope knows no owner `{owner}`, or no {repo} that the token may see ({line}): correct --to"
    if isinstance(error, errors.AlreadyExistsError):
        return f"{where} was made by someone else meanwhile, or is hidden from this token ({line}): correct --to"
    if isinstance(error, errors.NetworkError):
        return (
            f"{_endpoint()} can't be reached ({line}): check the network, its proxy and MODELSCOPE_ENDPOINT; the same "
            "command goes on"
        )
    return f"{where} did not get everything ({type(error).__name__}: {line}): the same command goes on"
