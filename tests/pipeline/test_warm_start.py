"""`training.warm_start`: its stage, its key, the note of each model, and what may be a last version."""

from __future__ import annotations

import json

import polars as pl
import pytest

from retune.data import kinds, learned
from retune.params import Params
from retune.pipeline import dvc_hash, instances, last_build, plan, seeds, warm_start
from retune.pipeline.resolve import resolve
from stages.warm import chosen
from tests.support import ROOT
from tests.support.declarations import write

WARM = (
    "params.yaml",
    "    loss: {name: focal}\n",
    "    loss: {name: focal}\n    training: {warm_start: true}\n    seeds: [5, 43]\n",
)


def test_each_model_that_starts_warm_has_a_stage_and_the_others_nothing(tmp_path):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    with_it, without = resolve(write(tmp_path / "with", WARM)), resolve(write(tmp_path / "without"))
    assert list(with_it.seeded["starts"]) == ["cross", "cross-43"], "members of seeds have their own"
    assert without.seeded["starts"] == {}
    assert "warm_start" not in json.dumps(without.files)
    found = {one.address: one for one in instances.read(ROOT, {**with_it.resolved, **with_it.outside})}
    assert found["warm@cross-43"].outs == ("data/starts/cross-43/last",)
    assert "data/starts/cross" in found["train@cross"].deps
    units = plan.of(tmp_path, list(found.values()), [], dict.fromkeys(found, True), with_it.resolved).units
    home = {stage.address: name for name, unit in units.items() for stage in unit.stages}
    assert home["train@cross"] == "warm@cross"
    assert not any(home[name] in units[home["train@plain"]].needs for name in ("warm@cross", "warm@cross-43"))
    said = seeds.changed(without.seeded, with_it.seeded)
    assert said is not None
    assert "cross (warm start)" in said


def test_the_notes_say_who_starts_warm_and_gone_models_leave_none(tmp_path):
    models = {"a": {"training": {"warm_start": True}}, "b": {"training": {}}, "c": {}}
    warm_start.write({"models": models}, tmp_path)
    (tmp_path / "data/starts/a/last").mkdir()
    notes = {file.parent.name: json.loads(file.read_text()) for file in tmp_path.rglob("warm_start.json")}
    assert notes == {"a": {"warm_start": True}, "b": {"warm_start": False}, "c": {"warm_start": False}}
    warm_start.write({"models": {"a": {}}}, tmp_path)
    assert [path.name for path in (tmp_path / "data/starts").iterdir()] == ["a"]
    assert not (tmp_path / "data/starts/a/last").exists()


def rows(count: int) -> pl.DataFrame:
    frame = pl.DataFrame({"text": [f"t{n}" for n in range(count)], "origin": ["original"] * count})
    return frame.with_columns(label=pl.lit("x"))


NOW = learned.of(rows(5), kinds.of("classification"))
SPEC = Params(task="t", kind="classification", learner="encoder", base="encoder", base_name="q", labels=["x"])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A built model that has learned from four of today's five rows."""
    monkeypatch.chdir(tmp_path)
    base, last = tmp_path / "models/bases/encoder", tmp_path / "models/m"
    for folder in (base, last):
        folder.mkdir(parents=True)
    (base / "weights").write_text("1")
    (last / "spec.json").write_text(json.dumps(SPEC))
    made = {"data": {"models/bases/encoder": dvc_hash.of(base)}}
    (last / "provenance.json").write_text(json.dumps(made))
    learned.write(learned.of(rows(4), kinds.of("classification")), last)
    return tmp_path


def start(project, spec=SPEC, built=None):
    last, base = (project / path for path in ("models/m", "models/bases/encoder"))
    return chosen(spec, last.relative_to(project), NOW, built or dvc_hash.of(last), base.relative_to(project))


def test_the_last_version_is_taken_with_its_hash(project):
    found = start(project)
    assert (found.cold, found.of) == (None, dvc_hash.of(project / "models/m"))
    assert found.rows == {"then": 4, "kept": 4, "added": 1, "changed": 0, "gone": 0}


def test_what_is_no_last_version_is_told(project):
    assert "is not what dvc.lock says" in start(project, built="0.dir").cold
    assert "has base_name q, which is g now" in start(project, Params(SPEC | {"base_name": "g"})).cold
    (project / "models/bases/encoder/weights").write_text("2")
    assert start(project).cold == "its last version was made from other files of models/bases/encoder"
    (project / "models/m/learned.parquet").unlink()
    (project / "models/bases/encoder/weights").write_text("1")
    assert "built without warm_start" in start(project).cold
    assert "there is no last version" in chosen(SPEC, project / "absent", NOW, "0.dir", project).cold
    assert "there is no last version" in chosen(SPEC, project / "models/m", NOW, None, project).cold


def test_the_hash_of_the_last_build_is_read_from_dvc_lock(project, monkeypatch):
    monkeypatch.setattr(last_build, "PAUSE", 0)
    assert last_build.model_hash("m") is None
    outs = "outs: [{path: reports/x, md5: '1'}, {path: models/m, md5: 2.dir}]"
    (project / "dvc.lock").write_text(f"stages:\n  train@m:\n    cmd: x\n    {outs}\n")
    assert (last_build.model_hash("m"), last_build.model_hash("n")) == ("2.dir", None)
