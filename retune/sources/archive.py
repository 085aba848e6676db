"""Archives (zip, tar) unpacked into a folder: plain files only, none outside of it, none that is code."""

from __future__ import annotations

import contextlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from retune.errors import RetuneError
from retune.sources import cache
from retune.sources.allowed_files import refused, safe

LARGEST = 16 << 30
"""Bytes that the files of an archive may have together."""

MOST = 100_000
"""Files that an archive may hold."""

CHUNK = 1 << 20
SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What the standard library raises about an archive; RuntimeError for a password or an unknown method."""


@dataclass(frozen=True)
class Member:
    """A plain file in an archive: its name, its size in bytes, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(file: Path, name: str) -> bool:
    """Whether a fetched file is an archive, by the `name` that it has at its address; by its content without suffix."""
    if name.lower().endswith(SUFFIXES):
        return True
    return not PurePosixPath(name).suffix and (zipfile.is_zipfile(file) or tarfile.is_tarfile(file))


def unpack(file: Path, name: str, out: Path) -> None:
    """Write the files of an archive into folder `out`; hidden files and those that may hold code are left out.

    Raises `RetuneError` for a damaged archive, a name that leaves the folder or is there twice, links, and more than
    `LARGEST` bytes or `MOST` files.
    """
    with _opened(file, name) as members:
        kept = [member for member in members if not _is_left_out(member.name)]
        total = sum(member.size for member in kept)
        if total > LARGEST or len(kept) > MOST:
            raise RetuneError(
                f"{name} unpacks to {len(kept):,} files of {total:,} bytes; the limits are {MOST:,} and {LARGEST:,}: "
                "unpack it yourself, and name the folder in a source of kind path"
            )
        if not kept:
            raise RetuneError(f"{name} holds no data file: correct `url` in the catalog")
        cache.need_space(out, total, name)
        for member in kept:
            _write(member, name, out)


@contextlib.contextmanager
def _opened(file: Path, name: str) -> Iterator[list[Member]]:
    """The plain files of an archive."""
    try:
        if zipfile.is_zipfile(file):
            with _zip(file) as archive:
                yield [_zip_member(archive, info, name) for info in archive.infolist() if not info.is_dir()]
        else:
            with tarfile.open(file) as tar:
                yield [_tar_member(tar, info, name) for info in tar if not info.isdir()]
    except DAMAGED as error:
        raise RetuneError(
            f"{name} can't be unpacked ({error}): unpack it yourself, and name the folder in a source of kind path"
        ) from None


def _zip(file: Path) -> zipfile.ZipFile:
    """A zip archive; names not marked as UTF-8 may be in GB18030, as Windows in China writes them."""
    with contextlib.suppress(UnicodeDecodeError):
        return zipfile.ZipFile(file, metadata_encoding="utf-8")
    with contextlib.suppress(UnicodeDecodeError):
        return zipfile.ZipFile(file, metadata_encoding="gb18030")
    return zipfile.ZipFile(file)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Member:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _unsafe(name, info.filename, "is a link")
    return Member(_checked(info.filename, name), info.file_size, lambda: archive.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Member:
    if not info.isfile():
        raise _unsafe(name, info.name, "is a link or a device")

    def stream() -> IO[bytes]:
        found: Any = tar.extractfile(info)
        return found

    return Member(_checked(info.name, name), info.size, stream)


def _checked(member: str, name: str) -> str:
    if not safe(member):
        raise _unsafe(name, member, "leaves its folder")
    return PurePosixPath(member).as_posix()


def _unsafe(name: str, member: str, what: str) -> RetuneError:
    return RetuneError(f"{name}: the member `{member}` {what}, so the archive is not unpacked; take it from elsewhere")


def _is_left_out(member: str) -> bool:
    parts = PurePosixPath(member).parts
    return any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX" or refused(member)


def _write(member: Member, name: str, out: Path) -> None:
    target = out / member.name
    if target.exists():
        raise RetuneError(f"{name} holds `{member.name}` twice: take it from elsewhere, or unpack it yourself")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as stream, target.open("wb") as part:
        while block := stream.read(CHUNK):
            written += len(block)
            if written > member.size:
                raise RetuneError(f"{name}: `{member.name}` has more than the {member.size:,} bytes that it declares")
            part.write(block)
