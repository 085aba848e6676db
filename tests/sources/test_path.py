"""Files of `path` entries: whether DVC sees their changes; their hashes are forgotten when the file changes."""

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


@pytest.mark.parametrize("outside", ["/mnt/store", "../store", "$STORE", "~/store", "store", "data/external/../raw"])
def test_a_path_that_dvc_does_not_watch_is_known(outside, tmp_path):
    assert path.is_outside(outside, tmp_path)


def test_a_path_below_the_watched_folder_needs_no_other_watch_unless_a_link_hides_it(tmp_path):
    old(tmp_path / "store/inner/rows.csv", "a\n")
    old(tmp_path / "data/external/plain/rows.csv", "a\n")
    (tmp_path / "data/external/linked").symlink_to(tmp_path / "store")
    (tmp_path / "data/external/plain/linked.csv").symlink_to(tmp_path / "store/inner/rows.csv")
    for inside in ("./data/external//plain/", "data/external/plain/linked.csv", "data/external/absent"):
        assert not path.is_outside(inside, tmp_path)
    for behind in ("data/external/linked", "data/external/linked/inner", "data/external/linked/inner/rows.csv"):
        assert path.is_outside(behind, tmp_path)
        assert path.hashes(behind, None, tmp_path)


def test_a_variable_in_a_path_must_be_set(tmp_path, monkeypatch):
    monkeypatch.setenv("CORPORA", str(tmp_path))
    assert path.expand("$CORPORA/x") == path.expand("${CORPORA}/x") == tmp_path / "x"
    with pytest.raises(RetuneError, match="environment variable NOWHERE, which is not set"):
        path.expand("$NOWHERE/x")


def test_a_linked_folder_below_a_source_is_refused_and_not_left_out(tmp_path):
    store = old(tmp_path / "store/rows.csv", "a\n").parent
    old(tmp_path / "data/external/corpus/rows.csv", "a\n")
    (tmp_path / "data/external/corpus/more").symlink_to(store)
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


def test_a_folder_that_may_not_be_listed_is_told_and_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    old(tmp_path / "data/external/store/rows.csv", "a\n")
    old(tmp_path / "data/external/store/private/more.csv", "a\n")
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("private"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    assert len(path.hashes("data/external/store", None, tmp_path)) == 2
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="private"):
        path.hashes("data/external/store", None, tmp_path)


def test_a_hash_that_may_not_be_remembered_is_computed_all_the_same(tmp_path, monkeypatch):
    file = old(tmp_path / "rows.csv", "a\n")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", ".retune")

    monkeypatch.setattr(path, "SETTLED_NS", -1)
    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert path.hash_file(file) == hashlib.sha256(b"a\n").hexdigest()
