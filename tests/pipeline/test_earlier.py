"""What a stage wrote before is kept while DVC removes it, without a copy where the file system has links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retune.pipeline import earlier


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    built("a", "first")
    return tmp_path


def built(task: str, text: str) -> None:
    """Both outputs of a task, replaced as a stage does it."""
    for outputs, names in earlier.KEPT.values():
        for name in names:
            file = Path(outputs) / task / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_text(text)


def kept(stage: str, task: str) -> str | None:
    folder = earlier.folder(stage, task)
    return (folder / earlier.KEPT[stage][1][-1]).read_text() if folder else None


@pytest.mark.parametrize("linked", [True, False])
def test_the_newest_whole_output_is_kept_until_it_is_forgotten(linked, monkeypatch):
    if not linked:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    earlier.keep(["a", "b"])
    assert Path(".retune/earlier/split/a/test.parquet").samefile("data/splits/a/test.parquet") == linked
    built("a", "second")
    assert kept("split", "a") == kept("convert", "a") == "first"
    Path("data/splits/a/dev.parquet").unlink()
    earlier.keep(["a", "b"])
    assert (kept("split", "a"), kept("convert", "a")) == ("first", "second")
    earlier.forget("split", "a")
    assert (kept("split", "a"), kept("convert", "a")) == (None, "second")
    earlier.keep(["b"])
    assert kept("convert", "a") is None, "the task is gone"


def test_an_output_that_is_a_link_into_the_cache_is_kept_as_a_file():
    cached = Path("cache")
    file = Path("data/splits/a/test.parquet")
    file.rename(cached)
    file.symlink_to(cached.resolve())
    earlier.keep(["a"])
    found = Path(".retune/earlier/split/a/test.parquet")
    assert found.read_text() == "first"
    assert not found.is_symlink()
    cached.unlink()
    assert found.read_text() == "first"
