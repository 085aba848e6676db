"""A url source that is an archive: its data files, and nothing that could do harm."""

from __future__ import annotations

import io
import json
import logging
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.params import loads
from retune.sources import archive
from retune.sources.fetch import fetch
from tests.support.hub_server import Hub, sha256

FILES = {
    "data/one.csv": b"a,b\n1,2\n",
    "data/\u8bad\u7ec3.csv": b"x",
    ".hidden": b"h",
    "__MACOSX/one.csv": b"m",
    "setup.py": b"p",
}


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            pack.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", **info: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as pack:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in info.items():
                setattr(member, key, value)
            pack.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.zip", zipped(FILES)),
        ("main", zipped(FILES)),
        ("set.tar.gz", tarred(FILES)),
        ("set.tar", tarred(FILES, "w")),
        ("set.txz", tarred(FILES, "w:xz")),
    ],
)
def test_the_data_files_of_an_archive_are_unpacked(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "out").mkdir()
    with Hub({name: content}).running() as hub:
        source = {
            "name": "set",
            "kind": "url",
            "license": "x",
            "url": f"{hub.url}/file/{name}",
            "sha256": sha256(content),
        }
        record = fetch(loads(json.dumps(source)), tmp_path / "out", logging.getLogger("retune"))
    assert sorted(record["files"]) == ["data/one.csv", "data/\u8bad\u7ec3.csv"]
    assert (tmp_path / "out/data/one.csv").read_bytes() == FILES["data/one.csv"]


def test_names_that_windows_wrote_in_gbk_are_read(tmp_path: Path) -> None:
    raw = zipped({"AAAA.csv": b"x"}).replace(b"AAAA", "\u8bad\u7ec3".encode("gbk"))
    (tmp_path / "a.zip").write_bytes(raw)
    (tmp_path / "out").mkdir()
    archive.unpack(tmp_path / "a.zip", "a.zip", tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["\u8bad\u7ec3.csv"]


def link() -> bytes:
    out, info = io.BytesIO(), zipfile.ZipInfo("link.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(out, "w") as pack:
        pack.writestr(info, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.zip", zipped({"../evil.csv": b"x"}), "leaves its folder"),
        ("a.tar", tarred({"/etc/evil.csv": b"x"}, "w"), "leaves its folder"),
        ("a.zip", link(), "`link.csv` is a link"),
        ("a.tar", tarred({"l.csv": b""}, "w", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link or a device"),
        ("a.zip", zipped({"a.csv": b"x" * 5000}), "unpacks to 1 files of 5,000 bytes; the limits are"),
        ("a.zip", zipped({"run.py": b"x"}), "holds no data file"),
        ("a.zip", zipped({"a.csv": b"x" * 900})[:-60], "can't be unpacked"),
        ("a.tar.gz", tarred({"a.csv": bytes(range(256)) * 4})[:200], "can't be unpacked"),
        ("a.zip", b"<html>", "can't be unpacked"),
    ],
)
def test_an_archive_that_could_do_harm_or_is_damaged_is_refused(
    name: str, content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST", 4000)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "deep/out").mkdir(parents=True)
    with pytest.raises(RetuneError, match=said):
        archive.unpack(tmp_path / "file", name, tmp_path / "deep/out")
    assert not (tmp_path / "deep/evil.csv").exists()
