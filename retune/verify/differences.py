"""What differs between a file or folder and its rebuilt self, in a few words for each file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SHOWN = 5
"""Keys, columns or tensors of one file that are listed."""


def differing(built: Path, rebuilt: Path) -> list[str]:
    """A sentence for each file that is not the same; for a file, one without its name."""
    if built.is_file() or rebuilt.is_file():
        return [of_file(built, rebuilt)] if built.is_file() and rebuilt.is_file() else ["one is a file, one a folder"]
    names = {
        top: {file.relative_to(top).as_posix() for file in top.rglob("*") if file.is_file()} for top in (built, rebuilt)
    }
    found = [f"{name}: is not made any more" for name in sorted(names[built] - names[rebuilt])]
    found += [f"{name}: is new" for name in sorted(names[rebuilt] - names[built])]
    for name in sorted(names[built] & names[rebuilt]):
        if (built / name).read_bytes() != (rebuilt / name).read_bytes():
            found.append(f"{name}: {of_file(built / name, rebuilt / name)}")
    return found


def of_file(built: Path, rebuilt: Path) -> str:
    """In what two files that are not the same differ, by what their suffix says they hold."""
    try:
        match built.suffix:
            case ".json":
                found = list(_json(*(json.loads(file.read_text(encoding="utf-8")) for file in (built, rebuilt))))
            case ".parquet":
                found = list(_table(pl.read_parquet(built), pl.read_parquet(rebuilt)))
            case ".safetensors":
                found = list(_tensors(_loaded(built), _loaded(rebuilt)))
            case _:
                found = []
    except Exception as error:  # a file of this suffix that holds something else
        found = [f"can't be read as {built.suffix[1:]} ({type(error).__name__})"]
    if not found:
        return _bytes(built.read_bytes(), rebuilt.read_bytes())
    return "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def _json(before: Any, now: Any, at: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            place = f"{at}.{key}" if at else str(key)
            if key not in before or key not in now:
                yield f"{place} {'is new' if key not in before else 'is gone'}"
            else:
                yield from _json(before[key], now[key], place)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _json(one, other, f"{at}[{number}]")
    elif before != now:
        yield f"{at or 'it'} {_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def _table(before: pl.DataFrame, now: pl.DataFrame) -> Iterator[str]:
    if before.schema != now.schema:
        changed = sorted(set(before.schema.items()) ^ set(now.schema.items()), key=str)
        yield f"other columns: {', '.join(dict.fromkeys(name for name, _ in changed)) or 'in another order'}"
    if len(before) != len(now):
        yield f"{len(before):,} rows -> {len(now):,}"
        return
    for name in before.columns:
        if name not in now.columns or before[name].dtype != now[name].dtype:
            continue
        one, other = before[name], now[name]
        rows = (~one.eq_missing(other)).sum()
        if rows and one.dtype.is_float():
            largest: Any = (one - other).abs().max()
            yield f"{name} in {rows:,} of {len(one):,} rows, by at most {largest or 0.0:.2g}"
        elif rows:
            yield f"{name} in {rows:,} of {len(one):,} rows"


def _loaded(file: Path) -> dict[str, Any]:
    """The tensors of a file as arrays of float64; by torch where numpy does not know their type (bfloat16)."""
    from safetensors.numpy import load_file

    try:
        return dict(load_file(file))
    except (KeyError, TypeError, AttributeError):
        from safetensors.torch import load_file as load_by_torch

        loaded: dict[str, Any] = load_by_torch(file)
        return {name: tensor.double().numpy() for name, tensor in loaded.items()}


def _tensors(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    if odd := sorted(str(name) for name in before.keys() ^ now.keys()):
        yield f"other tensors: {', '.join(odd[:SHOWN])}"
    both = [name for name in before if name in now]
    differ = [name for name in both if before[name].tobytes() != now[name].tobytes()]
    if shapes := [name for name in differ if before[name].shape != now[name].shape]:
        yield f"other shapes: {', '.join(shapes[:SHOWN])}"
    same_shape = [name for name in differ if name not in shapes]
    if same_shape:
        largest = {
            name: float(np.abs(before[name].astype(np.float64) - now[name].astype(np.float64)).max(initial=0.0))
            for name in same_shape
        }
        worst = max(largest, key=largest.__getitem__)
        yield f"{len(same_shape)} of {len(both)} tensors, by at most {largest[worst]:.2g} ({worst})"


def _bytes(before: bytes, now: bytes) -> str:
    if len(before) != len(now):
        return f"{len(before):,} bytes -> {len(now):,}"
    count = int((np.frombuffer(before, np.uint8) != np.frombuffer(now, np.uint8)).sum())
    return f"{count:,} of {len(before):,} bytes"
