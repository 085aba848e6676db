"""Our hashes are DVC's own."""

from __future__ import annotations

from pathlib import Path

from dvc.fs import LocalFileSystem
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs import MemoryFileSystem

from retune.pipeline import dvc_hash


def by_dvc(path: Path) -> str:
    """The hash that DVC gives to a file or folder."""
    cache = HashFileDB(MemoryFileSystem(), "memory://cache")
    _, _, found = build(cache, str(path), LocalFileSystem(), "md5", dry_run=True)
    value = found.hash_info.value
    assert value
    return str(value)


def test_files_and_folders_have_the_hashes_of_dvc(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name, content in {"b.bin": b"\r\n\0", "a/z": b"", "a.txt": b"1", "a/b/ü": b"2", "A": b"3"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        assert dvc_hash.of(folder / name) == by_dvc(folder / name)
    assert dvc_hash.of(folder) == by_dvc(folder)
    before = dvc_hash.of(folder)
    (folder / "A").write_bytes(b"4")
    assert dvc_hash.of(folder) == by_dvc(folder) != before
