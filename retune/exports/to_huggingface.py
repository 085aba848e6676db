"""Uploads to the Hugging Face hub by its own client; HF_ENDPOINT (a mirror) and HF_TOKEN are honoured."""

from __future__ import annotations

import glob
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.exports import hashes
from retune.exports.folder import CARD
from retune.exports.parity import FILE
from retune.exports.publish import Export, check_owner, check_visibility

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "https://huggingface.co"
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def address(repo: str) -> str:
    """The page of a repository."""
    return f"{_endpoint()}/{repo}"


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def upload(export: Export, repo: str, public: bool, token: str) -> str:
    """Make the repository if it is not there, and upload; the page of the commit.

    One that is there must be an earlier publication of the same model, or empty: files of that which this export lacks
    are taken away, and no others. Raises `RetuneError` for what the hub refuses and where it can't be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(endpoint=_endpoint(), token=token)
    try:
        try:
            found = api.model_info(repo, files_metadata=True)
        except RepositoryNotFoundError as error:
            if error.response.status_code != 404:  # it says so of a wrong token, too
                raise
            found = None
            api.create_repo(repo, private=not public)
        gone = [] if found is None else _checked(api, export, repo, public, found)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=export.folder,
            commit_message=f"{export.name}, by Retune",
            delete_patterns=[glob.escape(name) for name in gone] or None,
        )
    except RetuneError:
        raise
    except Exception as error:  # of the client, of httpx, of hf_xet: of no common class
        raise RetuneError(_sentence(error, repo).replace(token, TOKENS[0])) from None
    return str(done.commit_url)


def _checked(api: HfApi, export: Export, repo: str, public: bool, found: Any) -> list[str]:
    """The files of an earlier publication that this one lacks, in a repository that may be written to."""
    files = {one.rfilename for one in found.siblings or ()}
    check_visibility(bool(found.private), public, address(repo))
    there = _json(api, repo, CARD) if CARD in files else None
    check_owner(export, there, {one.rfilename for one in found.siblings or () if not _sent(export, one)}, address(repo))
    earlier = _json(api, repo, FILE).get("files", {}) if FILE in files else {}
    return [name for name in earlier if name in files and name not in export.files]


def _sent(export: Export, there: Any) -> bool:
    """Whether a file of the repository is one of the export's: an upload in several commits was stopped between two."""
    from huggingface_hub.utils import sha

    file = export.files.get(there.rfilename)
    if file is None:
        return False
    if there.lfs:
        return hashes.sha256(file) == str(there.lfs.sha256)
    return there.size == file.stat().st_size and sha.git_hash(file.read_bytes()) == str(there.blob_id)


def _json(api: HfApi, repo: str, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        file = api.hf_hub_download(repo, name, cache_dir=place)
        content: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        return content


def _sentence(error: BaseException, repo: str) -> str:
    """What to do about an error of the client, in a sentence or two."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    while isinstance(error, RuntimeError) and error.__cause__ is not None:  # of one file among several
        error = error.__cause__
    owner, where = repo.partition("/")[0], address(repo)
    if isinstance(error, HfHubHTTPError):
        status, said = error.response.status_code, f" ({error.server_message})" if error.server_message else ""
        match status:
            case 401:
                return (
                    f"the hub does not accept the token in {TOKENS[0]} (401): make one that may write, at "
                    f"{_endpoint()}/settings/tokens"
                )
            case 402 | 403:
                return (
                    f"the token in {TOKENS[0]} may not write to {where} ({status}){said}: take one of `{owner}`, or of "
                    "a member, that has write access"
                )
            case 404:
                return (
                    f"the hub knows no owner `{owner}`, or no {repo} that the token may see (404){said}: correct --to"
                )
            case 409 | 412:
                return f"{where} was made or changed by someone else meanwhile ({status}){said}: run the command again"
            case 429:
                return f"the hub has had too many requests of this token (429){said}: run the command again in an hour"
        again = "the same command goes on" if status >= 500 else "nothing of it was committed"
        return f"the hub refuses {where} ({status}){said or f': {_line(error)}'}: {again}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing can be sent: unset it"
    if isinstance(error, httpx2.TransportError):
        return (
            f"{_endpoint()} can't be reached ({_line(error)}): check the network, its proxy and HF_ENDPOINT; the same "
            "command goes on"
        )
    return (
        f"{where} did not get everything ({type(error).__name__}: {_line(error)}): the same command goes on; with "
        "HF_HUB_DISABLE_XET=1 large files go by the older way"
    )


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
