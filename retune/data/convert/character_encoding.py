"""Which encoding a text file is in, found by decoding all of it, block by block."""

from __future__ import annotations

import codecs
from pathlib import Path

from retune.errors import RetuneError

BLOCK = 1 << 20
CODECS = {"auto": ("utf-8", "gb18030"), "utf-8": ("utf-8",), "gb18030": ("gb18030",)}


def detect(path: Path, wanted: str = "auto", block: int = BLOCK) -> str:
    """The Python codec of a file: `utf-8-sig` after a byte order mark, else the first of `CODECS[wanted]` that fits.

    Raises `RetuneError` with the offset of the first byte that fits none.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith(codecs.BOM_UTF8):
        candidates: tuple[str, ...] = ("utf-8-sig",)
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise RetuneError(f"{path} is in UTF-16: save it as UTF-8 or GB18030")
    else:
        candidates = CODECS[wanted]
    bad = {}
    for codec in candidates:
        offset = first_misfit(path, codec, block)
        if offset is None:
            return codec
        bad[codec] = offset
    places = " and ".join(
        f"byte {offset:,} is not {codec.removesuffix('-sig').upper()}" for codec, offset in bad.items()
    )
    raise RetuneError(f"{path}: {places}; mend the file or save it as UTF-8")


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
