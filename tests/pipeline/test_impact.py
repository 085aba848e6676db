"""What a change costs: the exact stages of each mutation, with the reason of each."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from retune.errors import RetuneError
from retune.pipeline import impact, instances, meanings
from retune.pipeline.reads import dumps
from retune.pipeline.resolve import resolve
from tests.support import ROOT
from tests.support.declarations import replace, write

SOURCE = ("params.yaml", "source: sample", "source: files")
MODELS = ("plain", "untuned", "cross", "chatty")
NEURAL = ("untuned", "cross", "chatty")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it is after a build: code, a lock file, what the hashes mean."""
    folder = write(tmp_path_factory.mktemp("built"), SOURCE, code=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    rows = folder / "data/external/rows/rows.csv"
    rows.parent.mkdir(parents=True)
    rows.write_text("a,b,label\nx,y,1\nz,w,0\n")
    record(folder)
    return folder


def record(folder: Path) -> None:
    """What DVC writes into dvc.lock, of paths and the hashes of what is resolved, and `resolve` beside it."""
    found = resolve(folder)
    stages: dict[str, Any] = {}
    for one in instances.read(folder, {**found.resolved, **found.outside}):
        assert not one.params
        md5 = {path: {"md5": hashlib.md5(text.encode()).hexdigest()} for path, text in found.files.items()}
        stages[one.address] = {
            "cmd": one.cmd,
            "deps": [{"path": path, **md5.get(path, {})} for path in one.deps],
            "outs": [{"path": path} for path in one.outs],
        }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    meanings.keep(found.meanings, folder)
    log = folder / ".retune/logs/train-chatty.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-30 10:00:00,000 INFO done in 61.5 s\n")


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "project"))


def every(stage: str, names: tuple[str, ...] = MODELS) -> set[str]:
    return {f"{stage}@{name}" for name in names}


def stale(folder: Path, *overrides: str) -> dict[str, list[str]]:
    """Stage -> reasons of its own; the report, which shows every parameter, is left out."""
    found = impact.impact(folder, overrides=overrides)
    return {one.instance.address: one.why for one in found if one.why and one.instance.stage != "report"}


MATRIX: dict[str, tuple[tuple[str, str, str], set[str], str]] = {
    "a default that one learner reads": (
        ("params.yaml", "lora: {r: 16}", "lora: {r: 64}"), {"train@chatty"}, "models.chatty.lora.r 16 -> 64"),
    "a default of measuring": (
        ("params.yaml", "lora: {r: 16}", "lora: {r: 16}\nevaluation: {errors: 3}"), every("evaluate"),
        "tasks.questions.evaluation.errors 20 -> 3"),
    "a model's own value": (
        ("params.yaml", "training: {epochs: 2}", "training: {epochs: 3}"), {"train@chatty"},
        "models.chatty.training.epochs 2.0 -> 3.0"),
    "the seed": (
        ("params.yaml", "seed: 7", "seed: 8"), every("train") | every("evaluate") | {"compare@questions"},
        "models.chatty.seed 7 -> 8"),
    "a row added": (
        ("data/external/rows/rows.csv", "z,w,0\n", "z,w,0\nu,v,1\n"), {"download@questions"}, "file rows.csv changed"),
    "a row removed": (
        ("data/external/rows/rows.csv", "z,w,0\n", ""), {"download@questions"}, "file rows.csv changed"),
    "a row changed": (
        ("data/external/rows/rows.csv", "z,w,0\n", "z,w,1\n"), {"download@questions"}, "file rows.csv changed"),
    "a mapping of the catalog": (
        ("data/catalog.yaml", "path: data/external/rows\n  tables:\n    - file: rows.csv\n      columns: {text_a: a",
         "path: data/external/rows\n  tables:\n    - file: rows.csv\n      columns: {text_a: b"),
        {"convert@questions"}, "tasks.questions.convert.tables"),
    "an unused entry of the catalog": (
        ("data/catalog.yaml", "repo: owner/rows", "repo: owner/other"), set(), ""),
    "a licence": (("models/catalog.yaml", "license: MIT, repo: owner/chat", "license: X, repo: owner/chat"), set(), ""),
    "a checkpoint's revision": (
        ("models/catalog.yaml", "owner/chat, revision: 0", "owner/chat, revision: 1"), {"download_base@llm"},
        "bases.llm.revision"),
    "a prompt": (
        ("prompts/questions.yaml", "the same?", "alike?"), {"train@chatty", "explore@questions"},
        "models.chatty.prompt.system"),
    "a comment": (("retune/learners/llm/fit.py", "from __future__", "# why\nfrom __future__"), set(), ""),
    "a docstring": (("retune/llm/adapter.py", '"""', '"""New: '), set(), ""),
    "a line of the compiler": (
        ("retune/pipeline/resolve.py", "TASK_SECTIONS = (", "MARK = 1\nTASK_SECTIONS = ("), set(), ""),
    "a line of sources": (
        ("retune/sources/path.py", "WATCHED =", "MARK = 1\nWATCHED ="),
        {"download@questions", *every("download_base", ("scratch", "encoder", "llm"))},
        "module retune.sources.path"),
    "a line of data": (
        ("retune/data/split.py", "SPLITS =", "MARK = 1\nSPLITS ="), {"split@questions", "explore@questions"},
        "module retune.data.split"),
    "a line of evaluation": (
        ("retune/evaluation/bootstrap.py", "CELLS =", "MARK = 1\nCELLS ="),
        every("evaluate") | {"compare@questions"}, "module retune.evaluation.bootstrap"),
    "a line of training": (
        ("retune/training/hardware.py", "import torch\n", "import torch\nMARK = 1\n"),
        every("train", NEURAL) | every("predict", NEURAL), "module retune.training.hardware"),
    "a line of llm": (
        ("retune/llm/adapter.py", "WEIGHTS, CONFIG =", "MARK = 1\nWEIGHTS, CONFIG ="),
        {"train@chatty", "predict@chatty"}, "module retune.llm.adapter"),
    "a line of a learner's fit": (
        ("retune/learners/llm/fit.py", "import logging\n", "import logging\nMARK = 1\n"), {"train@chatty"},
        "module retune.learners.llm.fit"),
    "a style sheet": (("retune/report/style.css", "{", "{ color: red;"), {"explore@questions"}, "module retune.report"),
    "a locked version": (
        ("requirements.lock", "peft==", "peft==9."), {"train@chatty", "predict@chatty"}, "package peft "),
    "a locked progress bar": (("requirements.lock", "tqdm==", "tqdm==9."), set(), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRIX)
def test_a_mutation_makes_exactly_these_stages_stale_and_says_why(name: str, project: Path) -> None:
    edit, wanted, reason = MATRIX[name]
    replace(project, *edit)
    found = stale(project)
    assert found.keys() == wanted
    assert not wanted or any(reason in line for lines in found.values() for line in lines)
    assert "its parameters or its code changed" not in str(found)


def test_nothing_is_stale_after_a_build(project: Path) -> None:
    assert impact.impact(project) == []
    assert impact.table([]) == "nothing is stale"


def test_an_override_is_tried_without_being_written(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    assert stale(project, "lora.r=64") == {"train@chatty": ["models.chatty.lora.r 16 -> 64"]}
    assert (project / "params.yaml").read_bytes() == before
    with pytest.raises(RetuneError, match=r"lora\.rr"):
        stale(project, "+lora.rr=64")
    with pytest.raises(RetuneError, match=r"^-S lora\.rr=64: Could not override 'lora\.rr'.*\+lora\.rr=64"):
        stale(project, "lora.rr=64")


def test_the_table_tells_what_stands_behind_the_time_of_last_time_and_what_is_not_known(project: Path) -> None:
    replace(project, "params.yaml", "lora: {r: 16}", "lora: {r: 64}")
    said = impact.table(impact.impact(project)).splitlines()
    assert said[0] == "models.chatty.lora.r 16 -> 64"
    assert said[1].split() == ["train@chatty", "61.5", "s"]
    behind = {line.split()[0] for line in said[said.index("and behind these, where their results differ") + 1 : -1]}
    assert {"predict@chatty", "calibrate@chatty", "evaluate@chatty", "compare@questions"} <= behind
    assert not any("cross" in name or "plain" in name for name in behind)
    assert said[-1].startswith("2 stages run, ")
    assert "61.5 s of last time, without " in said[-1]


def test_reasons_are_told_by_the_committed_state_where_no_build_was_here(project: Path) -> None:
    (project / "params-resolved.json").write_text(dumps(resolve(project).resolved))
    shutil.rmtree(project / ".retune")
    for command in ("init -q", "add -A -f", "-c user.name=a -c user.email=a@example.org commit -q -m built"):
        subprocess.run(["git", *command.split()], cwd=project, check=True)
    replace(project, "params.yaml", "training: {epochs: 2}", "training: {epochs: 3}")
    replace(project, "retune/llm/adapter.py", "WEIGHTS, CONFIG =", "MARK = 1\nWEIGHTS, CONFIG =")
    reasons = ["models.chatty.training.epochs 2.0 -> 3.0", "module retune.llm.adapter"]
    assert stale(project) == {"train@chatty": reasons, "predict@chatty": reasons[1:]}
    since = impact.impact(project, since="HEAD")
    assert {one.instance.address: one.why for one in since if one.why}["train@chatty"] == reasons
    with pytest.raises(RetuneError, match="no-such"):
        impact.impact(project, since="no-such")


def test_a_new_model_and_one_that_is_gone(project: Path) -> None:
    replace(project, "params.yaml", "  cross:\n", "  crossed:\n")
    found = stale(project)
    assert found["train@crossed"] == ["was never built"]
    assert not any("@cross" in name and "@crossed" not in name for name in found)
