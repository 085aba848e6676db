"""Which encoding a text file is in, found by decoding all of it, block by block."""

from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path

from retune.errors import RetuneError

log = logging.getLogger("retune")

BLOCK = 1 << 20
AUTO = ("utf-8", "gb18030")
"""What is tried where no encoding is said; GB18030 decodes nearly everything, so that it is told."""

PRIVATE = re.compile("[\ue000-\uf8ff]")
"""Characters without a meaning, which other Chinese encodings give when they are read as GB18030."""

FOREIGN = re.compile(r"[^\x00-\x7f][^,;|\t\r\n]{0,15}")
"""A text to show: it begins with what ASCII has not."""


def detect(path: Path, wanted: str = "auto", block: int = BLOCK) -> str:
    """The Python codec of a file: by its byte order mark, else `wanted`, else the first of `AUTO` that fits.

    That UTF-8 failed and GB18030 was taken is told with some of the text. Raises `RetuneError` with the offset of the
    first byte that fits none, and where GB18030 gives private-use characters.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith(codecs.BOM_UTF8):
        candidates: tuple[str, ...] = ("utf-8-sig",)
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ("utf-16",)
    else:
        candidates = AUTO if wanted == "auto" else (wanted,)
    bad: dict[str, int] = {}
    for codec in candidates:
        offset = first_misfit(path, codec, block)
        if offset is None:
            if bad:
                _tell(path, codec, bad["utf-8"])
            return codec
        bad[codec] = offset
    places = " and ".join(
        f"byte {offset:,} is not {codec.removesuffix('-sig').upper()}" for codec, offset in bad.items()
    )
    raise RetuneError(f"{path}: {places}; mend the file, save it as UTF-8, or give its `encoding` (such as big5)")


def first_misfit(path: Path, codec: str, block: int = BLOCK) -> int | None:
    """Offset in bytes of the first byte that `codec` can't decode, or None."""
    decoder = codecs.getincrementaldecoder(codec)()
    read = 0
    with path.open("rb") as stream:
        while True:
            data = stream.read(block)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                return read - pending + error.start
            except UnicodeError:  # of UTF-16 and UTF-32 without a byte order mark
                return read
            if not data:
                return None
            read += len(data)


def transcode(path: Path, codec: str, target: Path, block: int = BLOCK) -> Path:
    """Write `path` as UTF-8 without a byte order mark to `target`, block by block."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open(encoding=codec, newline="") as stream, target.open("w", encoding="utf-8", newline="") as out:
        while text := stream.read(block):
            out.write(text)
    return target


def _tell(path: Path, codec: str, offset: int) -> None:
    """Show what a file that is no UTF-8 reads as; raise where that can be no text."""
    shown = None
    with path.open(encoding=codec) as stream:
        for number, line in enumerate(stream, 1):
            if odd := PRIVATE.search(line):
                raise RetuneError(
                    f"{path}: byte {offset:,} is not UTF-8, and as GB18030 line {number} holds U+{ord(odd[0]):04X}, "
                    "which no text has: give the table its `encoding` (such as big5; gb18030 reads it as it is)"
                )
            shown = shown or FOREIGN.search(line)
    text = shown[0] if shown else ""
    log.warning(
        "%s: byte %s is not UTF-8, so it is read as GB18030 (`%s`); if that is no text, give its `encoding` (big5 ...)",
        path, f"{offset:,}", text,
    )  # fmt: skip
