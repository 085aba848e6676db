"""Models of another revision or project: found by Git, brought by DVC, whole or not at all, as a checkout has them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import retune
from retune import inference
from retune.errors import RetuneError
from retune.params import Params
from retune.pipeline import model_files, remote, revision
from retune.pipeline.revision import Address
from tests.support.command_line import run
from tests.support.revision_project import FITTED, lay_out
from tests.support.shared_project import Clone

pytestmark = pytest.mark.slow

PAIRS = [("花呗怎么还", "花呗如何还款"), ("花呗", "借呗"), ("怎么还", "怎么还")]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    place = tmp_path_factory.mktemp("revisions")
    return lay_out(place / "project", place / "scratch")


@pytest.fixture
def project(origin: Clone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Clone]:
    """The project as the working directory, and an empty cache."""
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    with contextlib.chdir(origin.folder):
        yield origin


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("v1.2:models/x", Address(None, "v1.2", "models/x")),
        ("feature/new:exports/x", Address(None, "feature/new", "exports/x")),
        ("x@v1.0.0:models/x", Address(None, "x@v1.0.0", "models/x")),
        ("https://host.org/team/retune@v1:models/x", Address("https://host.org/team/retune", "v1", "models/x")),
        ("https://me@host.org:8080/a/b:models/x", Address("https://me@host.org:8080/a/b", None, "models/x")),
        ("ssh://git@host/a@x@v1.0:models/x", Address("ssh://git@host/a", "x@v1.0", "models/x")),
        ("git@host:team/retune@main:models/x", Address("git@host:team/retune", "main", "models/x")),
        ("git@host:team/retune.git:models/x", Address("git@host:team/retune.git", None, "models/x")),
        ("/srv/retune@v1:models/x", Address("/srv/retune", "v1", "models/x")),
        ("../retune:models/x", Address("../retune", None, "models/x")),
        ("models/x", None),
        ("/srv/retune/models/x", None),
    ],
)  # fmt: skip
def test_one_word_says_repository_revision_and_path(name: str, found: Address | None) -> None:
    assert revision.parse(name) == found
    assert found is None or revision.parse(str(found)) == found


def test_a_model_of_a_revision_is_the_one_that_a_checkout_of_it_has(project: Clone, tmp_path: Path) -> None:
    for tag in ("v1", "v2"):
        clone = project.cloned(tmp_path / tag)
        clone.git("checkout", "-q", tag)
        clone.dvc("pull", "-q", "models/same", "data/calibrations/sames/same.json")
        checked_out = retune.load(clone.folder / "models/same")
        found = retune.load(f"{tag}:models/same")
        assert found.similar(PAIRS) == checked_out.similar(PAIRS)
        assert found.fitted == FITTED[int(tag[1]) - 1]
        assert {file.name for file in found.folder.iterdir()} == {file.name for file in checked_out.folder.iterdir()}
        export = retune.load(f"{tag}:exports/same")
        assert [row["label"] for row in export.similar(PAIRS)] == [row["label"] for row in found.similar(PAIRS)]
    assert (
        found.similar(PAIRS)
        == retune.load("models/same").similar(PAIRS)
        != retune.load("v1:models/same").similar(PAIRS)
    )


@pytest.mark.parametrize("spelled", ["url", "folder", "bare", "keywords", "folder of a model"])
def test_a_model_of_another_project_comes_from_its_remote(
    project: Clone, spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = retune.load("v1:models/same").similar(PAIRS)
    bare = tmp_path / "bare.git"
    project.git("clone", "-q", "--bare", str(project.folder), str(bare))
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "empty"))
    before = set(os.listdir(Path(os.environ.get("TMPDIR", "/tmp"))))
    with contextlib.chdir(tmp_path):  # which is no project
        match spelled:
            case "url":
                found = retune.load(f"file://{bare}@v1:models/same")
            case "folder":
                found = retune.load(f"{project.folder}@v1:models/same")
            case "bare":
                found = retune.load(f"{bare}@v1:models/same")
            case "keywords":
                found = inference.load("models/same", repo=f"file://{bare}", rev="v1")
                assert inference.load("models/same", repo=f"file://{bare}").fitted == FITTED[1]  # the default branch
                assert inference.load("models/same", repo=project.folder).folder == project.folder / "models/same"
            case _:
                found = inference.load(project.folder / "models/same", rev="v1")
    assert found.similar(PAIRS) == wanted
    left = set(os.listdir(Path(os.environ.get("TMPDIR", "/tmp")))) - before
    assert not [name for name in left if "dvc" in name], "the clone of DVC is gone"


def test_a_second_load_asks_neither_dvc_nor_a_network(
    project: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare.git"
    project.git("clone", "-q", "--bare", str(project.folder), str(bare))
    first = retune.load(f"file://{bare}@v1:models/same")
    commit = first.origin()["loaded"]["commit"]
    shutil.rmtree(bare)
    monkeypatch.setattr(remote, "bring", None)
    again = retune.load(f"file://{bare}@{commit}:models/same")
    assert again.folder == first.folder
    assert again.similar(PAIRS) == first.similar(PAIRS)
    with pytest.raises(
        RetuneError, match=r"there is no folder file://.*bare\.git, and Git can't fetch from it \(fatal"
    ):
        retune.load(f"file://{bare}@v1:models/same")  # where v1 is now nobody can say


def test_an_llm_comes_with_its_base_and_how_it_writes(project: Clone) -> None:
    files = model_files.at(revision.find(Address(None, "v1", "models/chat")))
    assert (files.base / "weights").read_text() == "base"
    assert files.generation == {"max_new_tokens": 1}
    assert files.fitted == FITTED[0]
    later = model_files.at(revision.find(Address(None, "v2", "models/chat")))
    assert (later.base, later.folder) == (files.base, files.folder), "what is equal is kept once"
    assert later.generation == {"max_new_tokens": 2}


def test_what_was_killed_halfway_is_not_there(project: Clone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link, linked = revision._link, list[Path]()

    def killed(file: Path, copy: Path) -> None:
        if linked:
            raise KeyboardInterrupt
        link(file, copy)
        linked.append(copy)

    monkeypatch.setattr(revision, "_link", killed)
    with pytest.raises(KeyboardInterrupt):
        retune.load("v1:models/same")
    assert linked[0].exists()
    assert not list((tmp_path / "cache/outputs").glob("*/same/*"))
    monkeypatch.setattr(revision, "_link", link)
    found = retune.load("v1:models/same")
    assert not linked[0].exists()
    assert {"spec.json", "model.safetensors"} <= {file.name for file in found.folder.iterdir()}


def test_origin_says_commit_data_and_revision(project: Clone) -> None:
    commit = {tag: str(revision._git(project.folder, "rev-parse", tag)).strip() for tag in ("v1", "v2")}
    lock = (project.folder / "dvc.lock").read_text()
    said, same = retune.load("v1:models/same").origin(), retune.load("v2:exports/same").origin()
    assert said["loaded"] == {"repo": None, "revision": "v1", "commit": commit["v1"]}
    assert said["commit"]["hash"] == commit["v1"]
    assert list(said["data"]) == list(same["data"]) == ["data/rows.txt"]
    assert said["data"]["data/rows.txt"] not in lock, "the rows of v1"
    assert said["parameters"]["learner"] == "linear"
    assert (same["loaded"]["revision"], same["commit"]["hash"]) == ("v2", commit["v2"])
    assert json.loads(json.dumps(said)) == said
    here = retune.load("exports/same").origin()
    assert (here["commit"]["hash"], here["loaded"]) == (commit["v2"], None)
    assert retune.load("models/same").origin()["loaded"] is None


def test_one_warning_says_that_other_code_predicts(project: Clone, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "retune"):
        retune.load("v1:models/same")
        assert not caplog.records
        retune.load("v2:models/same")
        retune.load("v2:exports/same")
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.getMessage().startswith("v2 (commit ")
        assert "so its answers may differ: code 0000000000000000 (here " in record.getMessage()
    found, spec = revision.find(Address(None, "v2", "models/same")), Params(learner="linear", kind="pair")
    said = model_files.otherwise(found, "same", spec, "same was built otherwise than it is used here: torch 1")
    assert said is not None
    assert ": torch 1, code 0000000000000000 (here " in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v9:models/same", r"there is no revision `v9` \(known: main, v1, v2\); `git fetch --all --tags` gets"),
        ("--help:models/same", r"there is no revision `--help`"),
        ("v1:models/sam", r"there is no model `sam` in v1 \(commit \w{12}\); did you mean `same`\?"),
        ("v1:exports/chat", r"there is no export `chat` in v1 \(commit \w{12}\) \(known: same\)"),
        ("v1:models/raw", r"raw is not calibrated in v1 .*: take a commit after `dvc repro calibrate@raw`"),
        ("v1:data/x", r"`data/x` of v1:data/x is no models/NAME or exports/NAME: write REV:models/NAME"),
        ("v1:../x", r"`../x` of v1:../x is no models/NAME"),
        ("/nowhere@v1:models/x", r"there is no folder /nowhere, and Git can't fetch from it \(fatal"),
        ("ftp://host/x", r"ftp://host/x does not say which model: write REV:models/NAME"),
        (":models/x", r":models/x does not say which model"),
    ],
)
def test_what_is_missing_is_one_sentence(project: Clone, name: str, said: str) -> None:
    with pytest.raises(RetuneError, match=said):
        retune.load(name)


def test_files_that_nobody_has_are_named_before_any_is_fetched(project: Clone, tmp_path: Path) -> None:
    clone = project.cloned(tmp_path / "clone")
    (clone.folder / ".dvc/config").write_text("")
    with contextlib.chdir(clone.folder):
        with pytest.raises(
            RetuneError, match=r"models/same, data/calibrations/sames/same\.json are neither in the cache"
        ):
            retune.load("v1:models/same")
        clone.git("rm", "-q", "--cached", "dvc.lock")
        clone.commit()
        clone.git("rm", "-q", "dvc.lock")
        clone.commit()
        with pytest.raises(RetuneError, match=r"HEAD \(commit \w{12}\) has no dvc\.lock, so nothing was built there"):
            retune.load("HEAD:models/same")
    with contextlib.chdir(tmp_path), pytest.raises(RetuneError, match="Git knows no revision in"):
        retune.load("v1:models/same")


def test_no_file_is_written_outside_of_its_output(project: Clone, tmp_path: Path) -> None:
    target = tmp_path / "cache/outputs/x/same"
    (tmp_path / "file").write_text("x")
    for name in ("../../evil", "/tmp/evil"):
        with pytest.raises(RetuneError, match="outside of itself"):
            revision._keep({name: tmp_path / "file"}, target)
    assert not target.exists()


def test_the_command_line_takes_the_same_names(project: Clone, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in PAIRS))
    columns = ("--column", "text_a=a", "--column", "text_b=b", "--format", "jsonl")
    for name in ("v1:models/same", "exports/same", "v2:exports/same"):
        wanted = retune.load(name).similar(PAIRS)
        out, _ = run(project.folder, "predict", name, str(file), *columns)
        found = [json.loads(line) for line in out.splitlines()]
        assert [(row["label"], row["probability"]) for row in found] == [
            (row["label"], pytest.approx(row["probability"])) for row in wanted
        ]
    out, _ = run(project.folder, "align", "v1:models/same", *PAIRS[0])
    assert json.loads(out)["label"] == retune.load("v1:models/same").similar(PAIRS)[0]["label"]
    _, errors = run(project.folder, "predict", "v7:models/same", str(file), fails=True)
    assert errors.startswith("retune: there is no revision `v7`")
