"""`retune push` and `retune pull` through real remotes: what another clone gets, what it runs, what is said before."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from tests.support import remotes
from tests.support.shared_project import Clone, lay_out, size

pytestmark = pytest.mark.slow

METRICS = {f"reports/metrics/{model}.json" for model in ("words", "chat", "topic")} | {"reports/summary.md"}
"""What Git keeps: a clone has it at once."""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Clone:
    clone = lay_out(tmp_path_factory.mktemp("shared") / "origin")
    assert {"resolve", "download@pairs", "train@chat", "report"} <= set(clone.repro())
    clone.commit()
    return clone


@pytest.fixture(scope="module")
def pushed(built: Clone, tmp_path_factory) -> Path:
    """A folder with a built clone, `origin`, and beside it its remote, in which everything is."""
    folder = tmp_path_factory.mktemp("pushed")
    clone = built.copy(folder / "origin")
    clone.dvc("remote", "add", "-q", "--default", "team", "../remote")
    clone.commit()
    clone.retune("push")
    return folder


@pytest.fixture
def origin(pushed: Path, tmp_path: Path) -> Clone:
    """A built clone with a folder as its remote, in which everything is; both are the test's own."""
    shutil.copytree(pushed, tmp_path, dirs_exist_ok=True)
    return Clone(tmp_path / "origin")


def megabytes(said: str) -> float:
    """The bytes that a command announced."""
    (found,) = re.findall(r"([\d,.]+) MB to (?:fetch|send)", said)
    return float(found.replace(",", ""))


def unique(files: dict[str, bytes]) -> int:
    """Bytes of the files' different contents, in MB."""
    return sum({hashlib.sha256(text).digest(): len(text) for text in files.values()}.values())


@pytest.mark.parametrize("kind", ["folder", "ssh", "s3"])
def test_a_second_clone_gets_everything_that_one_pushed_and_runs_no_stage(built, tmp_path, kind):
    first = built.copy(tmp_path / "first")
    second = first.cloned(tmp_path / "second")
    with remotes.remote(kind, tmp_path / "served") as settings:
        for clone in (first, second):
            remotes.add(clone, settings)
        sent = first.retune("push")
        got = second.retune("pull")
        assert second.repro() == []
    assert second.outputs() == first.outputs()
    artifacts = unique({path: text for path, text in first.outputs().items() if path not in METRICS})
    assert size(second.folder / ".dvc/cache/files") == pytest.approx(artifacts, rel=0.05)
    assert megabytes(got) * 1e6 == pytest.approx(artifacts, rel=0.05, abs=50_000)
    assert megabytes(sent) * 1e6 == pytest.approx(artifacts, rel=0.05, abs=50_000)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (["words"], {"models/words", "data/calibrations/pairs/words.json"}),
        (["chat"], {"models/chat", "data/calibrations/pairs/chat.json", "models/bases/llm"}),
        (["chat", "--without-bases"], {"models/chat", "data/calibrations/pairs/chat.json"}),
        (
            ["topics"],
            {
                "data/raw/topics", "models/topic", "models/bases/encoder", "data/predictions/topics/topic",
                "data/calibrations/topics/topic.json", "reports/evaluations/topics/topic", "reports/comparisons/topics",
            },
        ),
        (
            ["--without-bases"],
            {
                "data/raw", "models/words", "models/chat", "models/topic", "data/predictions", "data/calibrations",
                "reports/evaluations", "reports/comparisons", "reports/index.html",
            },
        ),
    ],
)  # fmt: skip
def test_a_model_comes_with_what_it_predicts_with_and_a_task_with_all_that_is_its_own(origin, tmp_path, arguments, got):
    clone = origin.cloned(tmp_path / "clone")
    clone.retune("pull", *arguments)
    every = {path: text for path, text in origin.outputs().items() if path not in METRICS}
    expected = {path for path in every if any(path == one or path.startswith(f"{one}/") for one in got)}
    assert {path: text for path, text in clone.outputs().items() if path not in METRICS} == {
        path: every[path] for path in expected
    }


def test_only_bytes_that_are_not_here_yet_are_announced(origin, tmp_path):
    clone = origin.cloned(tmp_path / "clone")
    whole = megabytes(clone.retune("pull", "chat", "--without-bases"))
    assert whole == pytest.approx(0.14, abs=0.05)
    assert megabytes(clone.retune("pull", "chat")) == pytest.approx(0.09, abs=0.05)  # the base alone
    assert "0 files, 0.0 MB to fetch" in clone.retune("pull", "chat")
    assert "0 files, 0.0 MB to send" in origin.retune("push")


def test_a_variant_that_another_clone_built_is_not_built_again(origin, tmp_path):
    other = origin.cloned(tmp_path / "other")  # has nothing but the commit
    origin.set("chat", rate=2)
    ran = origin.repro()
    assert {"train@chat", "evaluate@chat", "compare@pairs"} <= set(ran)
    origin.retune("push")
    other.set("chat", rate=2)
    other.dvc("repro", "resolve")
    said = other.take()
    assert re.search(r"19 stages taken from team .*, 1 to build", said), said
    assert other.repro() == ["report"]  # Git keeps a part of it, so DVC does not remember it
    assert other.outputs() == origin.outputs()


def test_what_nobody_built_is_left_to_the_build(origin, tmp_path):
    other = origin.cloned(tmp_path / "other")
    other.set("chat", rate=3)
    other.dvc("repro", "resolve")
    other.take()
    assert other.repro() == ["train@chat", "predict@chat", "calibrate@chat", "evaluate@chat", "compare@pairs", "report"]


def test_what_the_remote_lacks_is_told_and_the_rest_comes(origin, tmp_path):
    clone = origin.cloned(tmp_path / "clone")
    weights = origin.folder / "models/words/weights"
    digest = hashlib.md5(weights.read_bytes()).hexdigest()
    lost = tmp_path / f"remote/files/md5/{digest[:2]}/{digest[2:]}"
    lost.unlink()
    said = clone.retune("pull", fails=True)
    assert "retune: models/words of this commit's dvc.lock is not in the remote" in said
    assert "`retune push`" in said
    assert set(origin.outputs()) - set(clone.outputs()) == {"models/words/weights", "models/words/head"}
    origin.retune("push")
    assert lost.read_bytes() == weights.read_bytes()
    clone.retune("pull")
    assert clone.outputs() == origin.outputs()


def test_what_is_neither_here_nor_in_the_remote_is_told_by_push(built, tmp_path):
    clone = built.cloned(tmp_path / "clone")
    clone.dvc("remote", "add", "-q", "--default", "team", str(tmp_path / "empty"))
    said = clone.retune("push", fails=True)
    assert "0 files, 0.0 MB to send" in said
    assert "data/raw/pairs, data/raw/topics and 15 more are neither in the cache here nor in the remote" in said


def test_a_file_that_was_changed_here_is_kept(origin, tmp_path):
    clone = origin.cloned(tmp_path / "clone")
    mine = clone.folder / "data/calibrations/pairs/words.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    said = clone.retune("pull", "words", fails=True)
    assert "retune: data/calibrations/pairs/words.json is not as any build left it" in said
    assert mine.read_text() == "mine"
    assert (clone.folder / "models/words/weights").is_file()


def test_a_name_that_is_neither_or_both_or_not_built_is_told(origin):
    assert "there is no model or task `wrds`; did you mean `words`?" in origin.retune("pull", "wrds", fails=True)
    declared = origin.folder / "params.yaml"
    text = declared.read_text()
    declared.write_text(text.replace('"words"', '"pairs"'))
    assert "`pairs` in params.yaml is both a model and a task" in origin.retune("pull", "pairs", fails=True)
    declared.write_text(text.replace('"words"', '"newer"'))
    said = origin.retune("pull", "newer", fails=True)
    assert "dvc.lock does not know newer: pull the commit of who built it, or `dvc repro calibrate@newer`" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no remote is the default: `dvc remote add --default NAME FOLDER`"),
        ({"url": "gs://bucket/retune"}, "this remote needs a plug-in of DVC: `pip install dvc-gs`"),
        ({"url": "http://127.0.0.1:9/retune"}, "the remote does not give or take files ("),
    ],
)
def test_a_remote_that_is_not_there_is_one_sentence(built, tmp_path, settings, message):
    clone = built.cloned(tmp_path / "clone")
    if settings:
        remotes.add(clone, settings)
    said = clone.retune("pull", "words", fails=True)
    assert f"retune: {message}" in said
    assert "Traceback" not in said
