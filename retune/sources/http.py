"""Download one file by HTTP: resumed by ranges, retried with growing pauses, checked by hash, kept in the cache."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from retune.errors import RetuneError
from retune.progress import bar
from retune.sources import cache, retry

ATTEMPTS = 6
"""Attempts in a row that bring no byte before a download gives up."""
CHUNK = 1 << 20
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Status codes that another attempt may mend."""
DENIED = {401, 403}


@dataclass(frozen=True)
class Remote:
    """A file to fetch. `algorithm` is `sha256`, or `git` for the blob hash that git gives a small file."""

    url: str
    name: str
    digest: str
    algorithm: str = "sha256"
    size: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    token: str = "the owner's permission"
    """What a refused request lacks, for the error: `HF_TOKEN`."""


class _Passing(Exception):
    """A failure that another attempt may mend; `asked` is how long the server asked to wait, in seconds."""

    def __init__(self, message: str, asked: float | None = None) -> None:
        super().__init__(message)
        self.asked = asked


def fetch(remote: Remote) -> Path:
    """Return the cached copy of a remote file, downloaded unless it is there.

    Raises `RetuneError` where the disk is too small, the server refuses or can't be reached, or the hash differs.
    """
    target = cache.file(remote.algorithm, remote.digest)
    with cache.locked(target):
        if target.exists():
            return target
        partial = target.with_name(target.name + ".partial")
        resumed = partial.exists() and partial.stat().st_size > 0
        _download(remote, partial)
        if resumed and digest_of(partial, remote.algorithm) != remote.digest:
            logging.getLogger("retune").warning("%s: the resumed file has the wrong hash; starting anew", remote.name)
            partial.unlink()
            _download(remote, partial)
        found = digest_of(partial, remote.algorithm)
        if found != remote.digest:
            partial.unlink()
            raise RetuneError(
                f"{remote.url} has {remote.algorithm} {found}, expected {remote.digest}: the file was replaced or "
                "altered on the way; correct the hash in the catalog if you trust the new file"
            )
        partial.replace(target)
    return target


def get_json(url: str, params: dict[str, Any], headers: dict[str, str], token: str) -> Any:
    """Return the JSON answer of a small request, with the retries of `fetch`."""

    def attempt() -> Any:
        return _accepted(_client().get(url, params=params, headers=headers), token).json()

    return _persist(url, attempt, lambda: 0)


def digest_of(file: Path, algorithm: str) -> str:
    """Hash a file: `sha256`, or `git` for the hash of a git blob (SHA-1 over `blob`, size, NUL and bytes)."""
    digest = hashlib.sha256() if algorithm == "sha256" else hashlib.sha1(usedforsecurity=False)
    if algorithm == "git":
        digest.update(f"blob {file.stat().st_size}\0".encode())
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _download(remote: Remote, partial: Path) -> None:
    """Bring the partial file to its full size."""
    have = partial.stat().st_size if partial.exists() else 0
    if remote.size is not None:
        if have > remote.size:
            partial.unlink()
            have = 0
        if have == remote.size and have:
            return
        cache.need_space(partial.parent, remote.size - have, remote.name)
    with bar(total=remote.size, desc=remote.name, unit="B", unit_scale=True, initial=have) as shown:

        def attempt() -> None:
            _stream(remote, partial, shown)

        _persist(remote.url, attempt, lambda: partial.stat().st_size if partial.exists() else 0)


def _stream(remote: Remote, partial: Path, shown: Any) -> None:
    """One request for the bytes that are missing; a server that ignores the range sends all of them anew."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = dict(remote.headers) | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with _client().stream("GET", remote.url, headers=headers) as response:
        if response.status_code == 416:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            partial.unlink()
            raise _Passing(f"the server does not know byte {have}")
        _accepted(response, remote.token)
        start = _start(response) if response.status_code == 206 else 0
        if start != have:
            if start:
                raise _Passing(f"the server sent byte {start}, not {have}")
            shown.reset()
        length = None if response.headers.get("Content-Encoding") else response.headers.get("Content-Length")
        if remote.size is None and length and not start:
            cache.need_space(partial.parent, int(length), remote.name)
            shown.total = int(length)
        with partial.open("ab" if start else "wb") as stream:
            for block in response.iter_bytes():  # as it comes: a block gathered first is lost with the connection
                stream.write(block)
                shown.update(len(block))
    got = partial.stat().st_size
    expected = remote.size if remote.size is not None else start + int(length or got - start)
    if got < expected:
        raise _Passing(f"the connection ended after {got} of {expected} bytes")
    if got > expected:
        partial.unlink()
        raise RetuneError(
            f"{remote.url} has {got} bytes, expected {expected}: correct the catalog, or fetch it again later"
        )


def _start(response: httpx.Response) -> int:
    return int(response.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])


def _accepted(response: httpx.Response, token: str) -> httpx.Response:
    """Return the response, if it is a success; passing failures are told from lasting ones."""
    status = response.status_code
    if status in PASSING:
        raise _Passing(f"status {status}", retry.asked(response.headers.get("Retry-After")))
    if status in DENIED:
        raise RetuneError(
            f"{response.url} refuses access (status {status}): set {token}, and accept its terms on the site"
        )
    if status >= 400:
        raise RetuneError(
            f"{response.url} answers with status {status}: check the address, name and revision in the catalog"
        )
    return response


def _persist(url: str, attempt: Callable[[], Any], progress: Callable[[], int]) -> Any:
    """Repeat an attempt while it fails in passing; attempts that brought bytes don't count."""
    log = logging.getLogger("retune")
    failures = 0
    while True:
        before = progress()
        try:
            return attempt()
        except (_Passing, httpx.TransportError) as error:
            failures = 1 if progress() > before else failures + 1
            reason = str(error) or type(error).__name__
            if failures >= ATTEMPTS:
                raise RetuneError(
                    f"{url} could not be fetched in {failures} attempts ({reason}): check the network "
                    "(or HF_ENDPOINT, MODELSCOPE_ENDPOINT, HTTPS_PROXY) and run again, it goes on where it stopped"
                ) from error
            pause = retry.pause(failures, error.asked if isinstance(error, _Passing) else None)
            log.warning("%s: %s; again in %.0f s (failure %d of %d)", url, reason, pause, failures, ATTEMPTS)
            time.sleep(pause)


@functools.cache
def _client() -> httpx.Client:
    """Return the client of this process: loading certificates takes longer than a small file, and it reuses lines."""
    timeout = httpx.Timeout(60.0, connect=20.0)
    return httpx.Client(timeout=timeout, follow_redirects=True, headers={"User-Agent": "retune"})
