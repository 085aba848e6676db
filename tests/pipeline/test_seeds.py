"""`seeds` of a model: members and ensembles as stages of their own, refused where they mean nothing or names clash."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from retune.errors import RetuneError
from retune.pipeline import instances, seeds
from retune.pipeline.resolve import resolve
from retune.pipeline.shared_outputs import chosen
from stages.resolve import resolve as resolve_stage
from tests.support import ROOT, command_line
from tests.support.declarations import replace, resolved, write

CROSS = (
    "params.yaml",
    "    loss: {name: focal}\n",
    "    loss: {name: focal}\n    seeds: [5, 43, 44]\n    ensemble: mean\n",
)
NAMES = ["cross", "cross-43", "cross-44"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return resolve(write(tmp_path_factory.mktemp("seeded"), CROSS))


def test_each_seed_is_a_model_of_its_own_that_differs_in_the_seed_alone(compiled):
    models = compiled.resolved["models"]
    assert list(models) == ["plain", "untuned", *NAMES, "chatty"]
    assert [models[name]["seed"] for name in NAMES] == [5, 43, 44]
    without = [{key: value for key, value in models[name].items() if key != "seed"} for name in NAMES]
    assert without[0] == without[1] == without[2]
    for stage in ("train", "predict", "calibrate", "evaluate"):
        assert {f"resolved/{stage}/{name}.json" for name in NAMES} <= compiled.files.keys()
    assert compiled.resolved["tasks"]["questions"]["models"] == ["plain", "untuned", "cross", "chatty"]


def test_the_comparison_knows_which_belong_together(compiled):
    found = compiled.resolved["tasks"]["questions"]["comparison"]
    assert found["seeds"] == {"cross": dict(zip(NAMES, [5, 43, 44], strict=True))}
    assert found["ensembles"] == {"cross-mean": "cross"}
    assert found["fixed"] == ["plain", "untuned"]


def test_stages_of_members_and_ensembles_are_those_of_dvc_yaml(compiled):
    assert compiled.seeded == {
        "models": {name: {"task": "questions", "base": "encoder", "learner": "encoder"} for name in NAMES[1:]},
        "ensembles": {"cross-mean": {"task": "questions", "base": "encoder", "members": NAMES}},
        "students": {},
        "starts": {},
    }
    found = instances.read(ROOT, {**compiled.resolved, **compiled.outside})
    outs = {one.address: one.outs for one in found}
    assert "models/cross-43" in outs["train@cross-43"]
    assert "reports/metrics/cross-mean.json" in outs["ensemble@cross-mean"]
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"]
    assert seeds.FILE.as_posix() in listed


def test_a_project_without_seeds_has_none_of_it(tmp_path):
    plain = resolve(write(tmp_path))
    assert plain.seeded == seeds.NOTHING
    task = plain.resolved["tasks"]["questions"]
    assert not {"seeds", "ensembles", "fixed"} & (task.keys() | task["comparison"].keys())
    assert "ensembles" not in json.dumps(plain.files["resolved/report.json"])


def test_the_default_is_for_models_that_a_seed_changes_and_name_none(tmp_path):
    write(tmp_path, ("params.yaml", "seed: 7\n", "seed: 7\nseeds: [7, 8]\n"))
    assert list(resolved(tmp_path)["models"]) == ["plain", "untuned", "cross", "cross-8", "chatty", "chatty-8"]
    replace(tmp_path, "params.yaml", "    base: llm\n", "    base: llm\n    seed: 3\n")
    replace(tmp_path, "params.yaml", "    loss: {name: focal}\n", "    loss: {name: focal}\n    seeds: []\n")
    models = resolved(tmp_path)["models"]
    assert list(models) == ["plain", "untuned", "cross", "chatty"]
    assert (models["cross"]["seed"], models["chatty"]["seed"]) == (7, 3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("base: scratch}", "base: scratch, seeds: [1, 2]}", r"plain.seeds: .*the learner linear makes no random"),
        ("{epochs: 0}}", "{epochs: 0}, seeds: [1, 2]}", r"nothing is trained \(epochs 0\)"),
        ("seeds: [5, 43, 44]", "seeds: [5, 43, 5]", "has 5 twice"),
        ("seeds: [5, 43, 44]", "seeds: [5, -43]", "greater than or equal to 0|at least 0|>= 0"),
        ("seeds: [5, 43, 44]", "seeds: [5, 43]\n    seed: 5", "begin with its seed; take one of both"),
        ("seeds: [5, 43, 44]", "seeds: [5]", "is a mean over seeds, and this model has but one"),
        ("  plain:", "  cross-44:", "makes a model cross-44"),
        ("  plain:", "  cross-mean:", "makes a model cross-mean"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(tmp_path, old, new, said):
    with pytest.raises(RetuneError, match=said):
        resolve(write(tmp_path, CROSS, ("params.yaml", old, new)))


def test_a_run_that_began_with_other_seeds_is_told_to_begin_again(compiled):
    none = seeds.NOTHING
    said = seeds.changed(none, compiled.seeded)
    assert "new: cross-43, cross-44, cross-mean" in said
    assert "run the same command again" in said
    assert "gone: cross-43" in seeds.changed(compiled.seeded, none)
    assert seeds.changed(compiled.seeded, compiled.seeded) is None


def test_resolve_writes_all_and_ends_the_run_once(tmp_path, monkeypatch, compiled):
    monkeypatch.chdir(write(tmp_path, CROSS))
    monkeypatch.setattr("sys.argv", ["resolve"])
    with pytest.raises(SystemExit, match="run the same command again"):
        resolve_stage()
    assert seeds.read() == compiled.seeded
    assert json.loads(Path("params-resolved.json").read_text()).keys() == compiled.resolved.keys()
    assert Path("resolved/train/cross-44.json").is_file()
    resolve_stage()


def test_repro_writes_the_file_before_dvc_reads_it_and_compiles_nothing_without_seeds(tmp_path, compiled):
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").write_text("models: {a: {seeds: [1, 2]}}")
    seeds.prepare(lambda: compiled.seeded, tmp_path)
    assert seeds.read(tmp_path) == compiled.seeded
    (tmp_path / "params.yaml").write_text("models: {a: {}}")
    seeds.prepare(lambda: seeds.NOTHING, tmp_path)
    assert not seeds.read(tmp_path)["models"], "seeds that are gone count, too"
    seeds.prepare(lambda: pytest.fail("nothing names seeds"), tmp_path)


def test_a_broken_file_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / seeds.FILE).write_text("{")
    with pytest.raises(RetuneError, match=r"data/generated\.json is not JSON"):
        seeds.read(tmp_path)
    assert seeds.read(Path(tmp_path / "elsewhere")) == seeds.NOTHING


def test_a_checkpoint_is_promoted_for_all_seeds_and_not_for_one(tmp_path, compiled):
    (tmp_path / "data").mkdir()
    (tmp_path / seeds.FILE).write_text(json.dumps(compiled.seeded))
    (tmp_path / "params.yaml").write_text("models: {}")
    (tmp_path / "models").mkdir()
    _, said = command_line.run(tmp_path, "checkpoints", "cross-43", "--promote", "10", fails=True)
    assert "promote the step of its model for all seeds" in said


def test_pull_brings_a_mean_with_its_members_and_a_task_with_all_of_them(tmp_path, compiled, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / seeds.FILE).write_text(json.dumps(compiled.seeded))
    write(tmp_path / "own", CROSS)
    shutil.copy(tmp_path / "own/params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    made = instances.read(ROOT, {**compiled.resolved, **compiled.outside})
    outs = [
        SimpleNamespace(stage=SimpleNamespace(name=one.address), def_path=path, hash_info=True)
        for one in made
        for path in one.outs
    ]

    def pulled(name):
        return {out.def_path for out in chosen(outs, [name], True)}

    folders = {f"models/{name}" for name in NAMES}
    mean = {"models/cross-mean", "data/calibrations/questions/cross-mean.json"}
    assert pulled("cross-mean") == mean | folders | {f"data/calibrations/questions/{name}.json" for name in NAMES}
    assert pulled("cross-44") == {"models/cross-44", "data/calibrations/questions/cross-44.json"}
    assert mean | folders | {"data/predictions/questions/cross-43"} <= pulled("questions")
    with pytest.raises(RetuneError, match="no model or task `cross-45`"):
        pulled("cross-45")


@pytest.mark.slow
def test_dvc_builds_members_beside_the_models_of_params_yaml(tmp_path, compiled):
    from dvc.repo import Repo

    write(tmp_path, CROSS)
    replace(tmp_path, "params.yaml", "seed: 7\n", "seed: 7\nexports: {}\n")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for file, content in (("outside", compiled.outside), ("generated", compiled.seeded)):
        (tmp_path / f"data/{file}.json").write_text(json.dumps(content))
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        found = {stage.name for stage in repo.index.stages}
        repo.check_graph(repo.index.stages)
    expected = {one.address for one in instances.read(ROOT, {**compiled.resolved, **compiled.outside})}
    assert found == expected
    assert {"train@cross", "train@cross-43", "ensemble@cross-mean"} <= found
