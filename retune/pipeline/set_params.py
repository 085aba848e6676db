"""Overrides of params.yaml (`-S lora.r=64`), applied as `dvc exp run` does: to a copy, or to the file itself."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from retune import atomic_file
from retune.errors import RetuneError
from retune.pipeline.declarations import PARAMS


@contextlib.contextmanager
def tried(folder: Path, overrides: Sequence[str]) -> Iterator[Path]:
    """A params.yaml of its own that says what the folder's would with these overrides; gone when the block ends.

    Raises `RetuneError` for an override that can't be applied.
    """
    with tempfile.TemporaryDirectory() as name:
        params = Path(name) / PARAMS
        shutil.copyfile(folder / PARAMS, params)
        _apply(params, overrides)
        yield params


def write(folder: Path, overrides: Sequence[str]) -> None:
    """Write the overrides into the folder's params.yaml, where a build with them is possible; else it stays as it was.

    Raises `RetuneError` for an override that can't be applied, and for declarations that contradict each other then.
    """
    from retune.pipeline.resolve import resolve

    with tried(folder, overrides) as params, atomic_file.replacing(folder / PARAMS) as part:
        resolve(folder, params)
        shutil.copyfile(params, part)


def _apply(params: Path, overrides: Sequence[str]) -> None:
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    try:
        apply_overrides(params, list(overrides))
    except DvcException as error:
        said = " ".join(str(error.__cause__ or error).split())
        raise RetuneError(f"-S {' -S '.join(overrides)}: {said}") from None
