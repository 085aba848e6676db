"""Files of `path` entries: only where DVC looks for changes; their hashes are forgotten when the file changes."""

import hashlib
import os

import pytest

from retune.errors import RetuneError
from retune.sources import path


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/external").mkdir(parents=True)


def old(file, text, when=1_577_836_800):
    """A file whose content has a time stamp of 2020."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (when, when))
    return file


@pytest.mark.parametrize(
    "outside", ["/mnt/store", "../store", "$STORE", "~/store", "store", "data/external/../raw", "data/external"]
)
def test_a_path_that_dvc_does_not_watch_is_refused_with_the_remedy(outside):
    with pytest.raises(RetuneError, match=r"is not below data/external.*retune link FOLDER"):
        path.watched(outside)


def test_a_path_below_the_watched_folder_is_taken():
    assert str(path.watched("./data/external//corpus/")) == "data/external/corpus"


def test_a_linked_folder_is_refused_wherever_it_stands(tmp_path):
    store = old(tmp_path / "store/inner/rows.csv", "a\n").parent.parent
    link = tmp_path / "data/external/corpus"
    link.symlink_to(store)
    for below in ("data/external/corpus", "data/external/corpus/inner", "data/external/corpus/inner/rows.csv"):
        with pytest.raises(RetuneError, match=r"corpus is a link to a folder.*`retune link .*store corpus`"):
            path.list_files(below)
    link.unlink()
    old(link / "rows.csv", "a\n")
    (link / "more").symlink_to(store)
    with pytest.raises(RetuneError, match="corpus/more is a link to a folder"):
        path.list_files("data/external/corpus")


def test_a_dangling_link_is_named(tmp_path):
    folder = old(tmp_path / "data/external/corpus/rows.csv", "a\n").parent
    (folder / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(RetuneError, match=r"gone\.csv is a link to .*nowhere\.csv, which does not exist"):
        path.list_files("data/external/corpus")
    with pytest.raises(RetuneError, match=r"gone\.csv is a link to .*nowhere\.csv, which does not exist"):
        path.list_files("data/external/corpus/gone.csv")


def test_a_correction_that_keeps_size_and_time_is_noticed(tmp_path):
    file = old(tmp_path / "data/external/rows.csv", "a,1\n")
    path._remember({str(file): [*seal(file), path.sha256(file)]})
    assert path.hash_file(file) == digest("a,1\n")
    other = old(tmp_path / "unpacked.csv", "a,0\n")
    other.replace(file)  # as unzip does
    assert path.hash_file(file) == digest("a,0\n")
    path._remember({str(file): [*seal(file), path.sha256(file)]})
    old(file, "a,2\n")  # as rsync --inplace does: the same inode
    assert path.hash_file(file) == digest("a,2\n")


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, monkeypatch):
    file = old(tmp_path / "rows.csv", "1")
    assert path.hash_file(file) == digest("1")
    assert not path.MEMORY.exists()
    monkeypatch.setattr(path, "SETTLED_NS", -1)
    assert path.hash_file(file) == digest("1")
    monkeypatch.setattr(path, "sha256", lambda _: "read anew")
    assert path.hash_file(file) == digest("1")
    path.forget(file)
    assert path.hash_file(file) == "read anew"
    path.MEMORY.write_text("{broken")
    assert path.hash_file(file) == "read anew"


def test_link_follows_what_a_folder_gets_and_loses(tmp_path):
    store = old(tmp_path / "store/a.csv", "a\n").parent
    old(store / "deep/b.csv", "b\n")
    old(store / ".hidden", "")
    assert path.link(store, "corpus") == (2, 0)
    assert list(path.list_files("data/external/corpus")) == ["a.csv", "deep/b.csv"]
    old(store / "c.csv", "c\n")
    (store / "a.csv").unlink()
    assert path.link(store, "corpus") == (1, 1)
    assert list(path.list_files("data/external/corpus")) == ["c.csv", "deep/b.csv"]
    old(tmp_path / "data/external/own/c.csv", "mine\n")
    with pytest.raises(RetuneError, match=r"own/c\.csv is in the way"):
        path.link(store, "own")
    assert (tmp_path / "data/external/own/c.csv").read_text() == "mine\n"
    for name in ("../x", ".", "/x"):
        with pytest.raises(RetuneError, match="take a plain name"):
            path.link(store, name)


def test_an_experiment_without_ignored_files_says_how_to_bring_them(tmp_path, monkeypatch):
    folder = tmp_path / ".dvc/tmp/exps/tmp1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    with pytest.raises(RetuneError, match=r"--copy-paths data/external/corpus.*dvc add data/external/corpus"):
        path.list_files("data/external/corpus")


def test_data_that_was_shared_and_not_pulled_is_told(tmp_path):
    old(tmp_path / "data/external/corpus.dvc", "outs: []\n")
    with pytest.raises(RetuneError, match=r"dvc pull data/external/corpus"):
        path.list_files("data/external/corpus")


def seal(file):
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()
