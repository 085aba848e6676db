"""Files that gzip compressed, and binary files where text is meant."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from retune.errors import RetuneError

LARGEST = 16 << 30
"""Bytes that a file may unpack to."""

CHUNK = 1 << 20
BINARY = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or give the table `format: xlsx`",
    b"\xd0\xcf\x11\xe0": "an old Office file: save it as .xlsx",
    b"PAR1": "a Parquet file: give the table `format: parquet`",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a rar archive: unpack it",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zX": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
}
"""First bytes -> what the file is, and what to do."""


def unpacked(path: Path, scratch: Path) -> Path | None:
    """The content of a file that gzip compressed, in `scratch` under its name without `.gz`; None for another file.

    Raises `RetuneError` for a damaged file and one that unpacks to more than `LARGEST` bytes.
    """
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return None
    target = scratch / "unpacked" / (path.stem if path.suffix.lower() == ".gz" else path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with gzip.open(path) as stream, target.open("wb") as out:
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
