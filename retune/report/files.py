"""Files that the report reads; a missing or broken one is an error that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from retune.errors import RetuneError


def read_json(path: Path, default: Any = None) -> Any:
    """The content of a JSON file, or `default` (if any) where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise _missing(path) from None
    except json.JSONDecodeError as error:
        raise RetuneError(f"{path}:{error.lineno} is not JSON ({error.msg}): delete it and run `dvc repro`") from None


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet or CSV file."""
    if not path.is_file():
        raise _missing(path)
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    if not path.is_file():
        raise _missing(path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _missing(path: Path) -> RetuneError:
    return RetuneError(f"{path} is missing: run `dvc repro`, which builds it first")
