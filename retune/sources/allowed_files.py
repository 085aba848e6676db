"""Which files of a repository are fetched: plain weights, tables and tokenizer files; never code, never pickles."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import PurePosixPath

from retune.errors import RetuneError

CHECKPOINT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "LICENSE*",
    "NOTICE*",
)
"""Default patterns of a checkpoint, for the names in its top folder: nested ones are exports to other engines."""
DATA = ("*.csv", "*.tsv", "*.json", "*.jsonl", "*.parquet", "*.xlsx", "*.txt", "LICENSE*")
"""Default patterns of a data set, in any folder."""
REFUSED = (
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.pickle",
    "*.h5",
    "*.msgpack",
    "*.py",
    "*.pyc",
    "*.so",
    "*.sh",
)
"""Files that are code or may hold code when loaded; no pattern of a catalog reaches them."""


def chosen(names: Iterable[str], patterns: list[str] | None, *, data: bool) -> list[str]:
    """Choose the names to fetch, in order; raises `RetuneError` for an unsafe name or where nothing is left.

    A name is kept where it matches `patterns` (default: `DATA` or the top-level `CHECKPOINT`) and is not `REFUSED`.
    """
    names = list(names)
    if not data:
        refuse_adapter(names)
    kept = []
    for name in names:
        if not safe(name):
            raise RetuneError(f"the file name `{name}` leaves its folder: the repository can't be trusted")
        if patterns is None and not data and "/" in name:
            continue
        if _matches(name, patterns or (DATA if data else CHECKPOINT)) and not _matches(name, REFUSED):
            kept.append(name)
    if not kept:
        wanted = patterns or (DATA if data else CHECKPOINT)
        raise RetuneError(f"none of {len(names)} files ({', '.join(names[:5])} ...) matches `files` {list(wanted)}")
    if not data and not any(name.endswith(".safetensors") for name in kept):
        raise RetuneError(
            f"no safetensors weights among {', '.join(names[:8])}: pickled weights are not loaded, choose another "
            "revision or repository, or save the model again with `save_pretrained`"
        )
    return sorted(kept)


def refuse_adapter(names: Iterable[str]) -> None:
    """Raise `RetuneError` where a folder holds a LoRA adapter, which is no model of its own."""
    if "adapter_config.json" in names:
        raise RetuneError(
            "adapter_config.json says that this is a LoRA adapter, not a model: merge it into its base "
            "(`merge_and_unload` of peft, then `save_pretrained`) and name the merged folder"
        )


def safe(name: str) -> bool:
    """Whether a relative name stays inside the folder that it is joined to."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


def refused(name: str) -> bool:
    """Whether a file is code, or may hold code when loaded."""
    return _matches(name, REFUSED)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    base = PurePosixPath(name).name
    return any(fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(base, pattern) for pattern in patterns)
