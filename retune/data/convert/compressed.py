"""Files that gzip compressed or that lie in a zip archive, and binary files where text is meant."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from retune.errors import RetuneError, unknown

LARGEST = 16 << 30
"""Bytes that a file may unpack to."""

CHUNK = 1 << 20
BINARY = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: end its name in .zip, or give the table `format: xlsx`",
    b"\xd0\xcf\x11\xe0": "an old Office file: save it as .xlsx",
    b"PAR1": "a Parquet file: give the table `format: parquet`",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a rar archive: unpack it",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zX": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
}
"""First bytes -> what the file is, and what to do."""


def unpacked(path: Path, scratch: Path, member: str | None = None) -> Path | None:
    """The content of a compressed file in `scratch`, named so that its suffix tells its format; None for another file.

    That is what gzip compressed, and in a zip archive the `member`, or its only file; a member may be compressed again.
    Raises `RetuneError` for a damaged file, one that unpacks to more than `LARGEST` bytes, and an unknown member.
    """
    inner = None
    if path.suffix.lower() == ".zip":
        inner = _of_zip(path, scratch / "zip", member)
    elif member is not None:
        raise RetuneError(f"{path} is no .zip file, so it has no member `{member}`: take `member` out")
    name = (inner or path).name
    with (inner or path).open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return inner
    target = scratch / "unpacked" / (name[: -len(".gz")] if name.lower().endswith(".gz") else name)
    return _written(lambda: gzip.open(inner or path), target, path)


def _of_zip(path: Path, scratch: Path, member: str | None) -> Path:
    """A member of a zip archive, under its own name without folders: no name can lead out of `scratch`."""
    try:
        with _zip(path) as archive:
            found = {info.filename: info for info in archive.infolist() if not info.is_dir()}
            names = [name for name in found if not any(part[:1] in "._" for part in PurePosixPath(name).parts)]
            if member is None and len(names) != 1:
                held = f"{len(names):,} files ({', '.join(names[:10])}): name one as `member` of the table"
                raise RetuneError(f"{path} holds {held if names else 'no file'}")
            if member is not None and member not in found:
                raise RetuneError(f"{path}: {unknown('member', member, names)}")
            info = found[names[0] if member is None else member]
            name = info.filename.rpartition("/")[2].lstrip(".") or "member"
            return _written(lambda: archive.open(info), scratch / name, path)
    except (zipfile.BadZipFile, RuntimeError) as error:  # of these the second: a password, an unknown method
        raise RetuneError(f"{path} can't be unpacked ({error}): fetch it again, or unpack it yourself") from None


def _zip(path: Path) -> zipfile.ZipFile:
    """A zip archive; names not marked as UTF-8 may be in GB18030, as Windows in China writes them."""
    for encoding in ("utf-8", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            return zipfile.ZipFile(path, metadata_encoding=encoding)
    return zipfile.ZipFile(path)


def _written(opened: Callable[[], IO[bytes] | gzip.GzipFile], target: Path, path: Path) -> Path:
    """The unpacked content of `path`, block by block, as `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with opened() as stream, target.open("wb") as out:
            while block := stream.read(CHUNK):
                written += len(block)
                if written > LARGEST:
                    raise RetuneError(f"{path} unpacks to more than {LARGEST:,} bytes: unpack it yourself, in parts")
                out.write(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RetuneError(f"{path} can't be unpacked ({error}): fetch it again") from None
    return target


def refuse_binary(path: Path, form: str) -> None:
    """Raise `RetuneError` where a file that should hold text begins as a binary one."""
    with path.open("rb") as stream:
        start = stream.read(4)
    for magic, what in BINARY.items():
        if start.startswith(magic):
            raise RetuneError(f"{path} can't be read as {form}: it is {what}")
