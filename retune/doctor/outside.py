"""What lies elsewhere: model hubs, package index, the team's remote; and the disk that downloads need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from retune.doctor import tools
from retune.doctor.finding import OK, PROBLEM, WARNING, Finding

GIB = 2**30
PATIENCE = 4.0
"""Seconds in which a hub must answer."""

HUBS = {
    "huggingface": ("HF_ENDPOINT", "https://huggingface.co"),
    "modelscope": ("MODELSCOPE_ENDPOINT", "https://modelscope.cn"),
}
"""Kind of a source -> the variable that names another address, and the usual one."""


def needed(resolved: dict[str, Any], root: Path) -> dict[str, list[str]]:
    """Address -> the entries that are still to be fetched from it."""
    entries = [(f"bases.{role}", base, root / "models/bases" / role) for role, base in resolved["bases"].items()]
    entries += [(f"tasks.{name}", task["source"], root / "data/raw" / name) for name, task in resolved["tasks"].items()]
    found: dict[str, dict[str, None]] = {}
    for name, entry, output in entries:
        if output.exists():
            continue
        kind = entry.get("kind")
        if kind in HUBS:
            variable, usual = HUBS[kind]
            address = (os.environ.get(variable) or usual).rstrip("/")
        elif kind == "wheel":
            address = _index(root)
        elif kind == "url":
            url = entry["url"]
            for one in url.values() if isinstance(url, dict) else [url]:
                parts = urlsplit(one)
                found.setdefault(f"{parts.scheme}://{parts.netloc}", {})[name] = None
            continue
        else:
            continue
        found.setdefault(address, {})[name] = None
    return {address: list(names) for address, names in found.items()}


def _index(root: Path) -> str:
    """The package index that pip asks."""
    said = os.environ.get("PIP_INDEX_URL")
    said = said or tools.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], root)
    return said or "https://pypi.org/simple"


def hubs(resolved: dict[str, Any], root: Path) -> list[Finding]:
    """Whether each address that a build would fetch from answers."""
    wanted = needed(resolved, root)
    if not wanted:
        return [Finding("hubs", OK, "nothing is left to be fetched")]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(_answers, wanted))
    findings = []
    for (address, names), error in zip(wanted.items(), answers, strict=True):
        shown = _shown(address)
        listed = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
        if error is None:
            findings.append(Finding("hubs", OK, f"{shown} answers (for {listed})"))
        else:
            cached = "what lies in the cache of downloads is used without it"
            remedy = f"connect, set a proxy or a mirror (HF_ENDPOINT, PIP_INDEX_URL), or `retune pull`; {cached}"
            said = f"offline: {shown} does not answer ({error}), needed for {listed}"
            findings.append(Finding("hubs", WARNING, said, remedy))
    return findings


def _shown(address: str) -> str:
    """An address without a password."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip("/")


def _answers(address: str) -> str | None:
    """None where a HEAD gets any answer in time, else why not."""
    try:
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "retune"})
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return None
    except urllib.error.HTTPError:
        return None  # it is there
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(reason)[:80] or type(error).__name__


ASK = """
import sys
from dvc.config import NoRemoteError
from dvc.repo import Repo
try:
    with Repo() as repo:
        odb = repo.cloud.get_remote_odb(None, "doctor")
        place = odb.path.removesuffix("/files/md5")
        found = odb.fs.exists(place)  # of a bucket without files it is false, and yet reached
        print("absent" if odb.fs.protocol == "local" and not found else "there", odb.fs.unstrip_protocol(place))
except NoRemoteError:
    print("none -")
except Exception as error:
    lines = [one for one in str(error).splitlines() if one.strip()]
    print("failed", (lines or [type(error).__name__])[0][:150])
"""


def remote(root: Path) -> Finding:
    """Whether DVC has a default remote, and reaches it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK], cwd=root, capture_output=True, text=True, timeout=30, check=False
        )
        state, _, said = (done.stdout.strip().splitlines() or ["failed DVC can't be asked"])[-1].partition(" ")
    except subprocess.TimeoutExpired:
        state, said = "failed", "no answer within 30 seconds"
    if state == "none":
        return Finding("remote", OK, "none is the default: a build needs none; `retune push` does (docs/share.md)")
    if state == "there":
        return Finding("remote", OK, f"{said} is reached")
    if state == "absent":
        return Finding(
            "remote", WARNING, f"{said} does not exist", "mount it; the first `retune push` makes the folder"
        )
    return Finding("remote", WARNING, f"not reached: {said}", "check its address and your access (docs/share.md)")


def disk(root: Path, cache: Path, downloads: float, outputs: float) -> list[Finding]:
    """Whether the disks of the project and of the downloads have room for what is still to come, in bytes."""
    findings = []
    place = next(path for path in (cache, *cache.parents) if path.exists())
    one = os.stat(place).st_dev == os.stat(root).st_dev
    wanted = [("disk", root, 2 * downloads + outputs if one else downloads + outputs)]
    wanted += [] if one else [("disk of downloads", place, downloads)]
    for about, path, need in wanted:
        free = shutil.disk_usage(path).free
        said = f"{free / GIB:.1f} GiB free in {path.resolve()}, about {need / GIB:.1f} GiB needed"
        remedy = "free some, put the cache elsewhere (RETUNE_CACHE, `dvc cache dir --local`), or take smaller bases"
        state = PROBLEM if free < need else WARNING if free < need + GIB else OK
        findings.append(Finding(about, state, said, "" if state == OK else remedy))
    return findings
