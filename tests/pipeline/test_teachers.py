"""`teacher` of a model: a stage of its own between both, refused where it can't be, nothing for other models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.params import Params
from retune.pipeline import instances, plan, seeds, teachers
from retune.pipeline.impact import impact
from retune.pipeline.resolve import resolve
from stages.resolve import resolve as resolve_stage
from tests.support import ROOT
from tests.support.declarations import replace, resolved, write

PLAIN = "  plain: {task: questions, learner: linear, base: scratch}\n"
NOBODY = ("params.yaml", "base: scratch}\n", "base: scratch, teacher: {model: chatty, weight: 0.0}}\n")
TAUGHT = ("params.yaml", "base: scratch}\n", "base: scratch, teacher: chatty}\n")
SEEDED = (
    "params.yaml",
    "    loss: {name: focal}\n",
    "    loss: {name: focal}\n    teacher: {model: plain, weight: 0.3, temperature: 2.0}\n    seeds: [5, 43]\n",
)
OTHER_TASK = (
    "params.yaml",
    "models:\n",
    "  others: {kind: pair, source: sample, prompt: questions}\nmodels:\n"
    "  stranger: {task: others, learner: linear, base: scratch}\n",
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return resolve(write(tmp_path_factory.mktemp("taught"), TAUGHT, SEEDED))


def as_params(found):
    return json.loads(json.dumps(found), object_hook=Params)


def test_a_name_is_short_for_the_section_and_members_have_the_same_teacher(compiled):
    models = compiled.resolved["models"]
    assert models["plain"]["teacher"] == {
        "model": "chatty", "weight": 0.5, "temperature": 1.0, "unlabelled_rows": None
    }  # fmt: skip
    assert models["cross"]["teacher"]["weight"] == 0.3
    assert models["cross-43"]["teacher"] == models["cross"]["teacher"]
    assert list(compiled.resolved["students"]) == ["plain", "cross", "cross-43"]
    asked = compiled.resolved["students"]["plain"]
    assert (asked["teacher"], asked["learner"], asked["base"]) == ("chatty", "llm", "llm")
    assert asked["hardware"] == compiled.resolved["predictions"]["chatty"]["hardware"]


def test_models_without_a_teacher_are_what_they_were(tmp_path, compiled):
    plain = resolve(write(tmp_path))
    assert plain.resolved["students"] == {}
    for name in ("untuned", "chatty"):
        assert plain.resolved["models"][name] == compiled.resolved["models"][name]
        for stage in ("train", "predict", "calibrate", "evaluate"):
            file = f"resolved/{stage}/{name}.json"
            assert plain.files[file] == compiled.files[file]


def test_a_teacher_whose_word_weighs_nothing_is_none(tmp_path):
    one = write(tmp_path / "one", NOBODY)
    assert resolve(one).files == resolve(write(tmp_path / "two")).files


def test_a_key_of_the_teacher_that_means_nothing_for_a_ranking_is_left_out():
    from retune.pipeline import effective

    teacher = {"model": "a", "weight": 0.5, "temperature": 3.0, "unlabelled_rows": None}
    for kind, learner, there in (
        ("ranking", "encoder", False),
        ("pair", "encoder", True),
        ("scoring", "linear", False),
    ):
        spec = {"kind": kind, "learner": learner, "seed": 1, "training": {"epochs": 1}, "teacher": teacher}
        assert ("temperature" in effective.model(spec)["teacher"]) == there


def test_dvc_goes_over_students_and_the_graph_leads_from_teacher_to_student(compiled):
    assert compiled.seeded["students"] == {
        "plain": {"task": "questions", "base": "llm", "teacher": "chatty"},
        "cross": {"task": "questions", "base": "scratch", "teacher": "plain"},
        "cross-43": {"task": "questions", "base": "scratch", "teacher": "plain"},
    }
    found = instances.read(ROOT, {**compiled.resolved, **compiled.outside})
    order = [one.address for one in found]
    chain = [f"{stage}@{name}" for name in ("chatty", "plain", "cross") for stage in ("teach", "train", "calibrate")][
        1:
    ]
    assert [order.index(one) for one in chain] == sorted(order.index(one) for one in chain)
    deps = {one.address: one.deps for one in found}
    assert {"models/chatty", "data/calibrations/questions/chatty.json", "models/bases/llm"} <= set(deps["teach@plain"])
    assert "data/lessons/untuned" in deps["train@untuned"]


def test_repro_builds_students_behind_their_teachers(compiled, tmp_path):
    values = {**compiled.resolved, **compiled.outside}
    every = instances.read(ROOT, values)
    units = plan.of(tmp_path, every, [], {one.address: True for one in every}, values).units
    home = {stage.address: name for name, unit in units.items() for stage in unit.stages}
    assert home["teach@plain"] in units[home["train@plain"]].needs
    assert home["train@chatty"] in units["teach@plain"].needs
    assert units[home["train@chatty"]].way > units["teach@plain"].way > units["teach@cross"].way


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("base: scratch}", "base: scratch, teacher: chaty}", "no model `chaty` of task questions .*`chatty`"),
        ("base: scratch}", "base: scratch, teacher: plain}", "is the model itself"),
        ("base: scratch}", "base: scratch, teacher: {weight: 0.2}}", "plain.teacher.model: is missing"),
        ("base: scratch}", "base: scratch, teacher: {model: chatty, weight: 1.5}}", "teacher.weight.*1.5"),
        ("base: scratch}", "base: scratch, teacher: {model: chatty, wait: 0.5}}", "no key `wait`"),
        ("base: scratch}", "base: scratch, teacher: stranger}", "`stranger` is a model of task others"),
        ("base: scratch}", "base: scratch, teacher: {model: chatty, unlabelled_rows: 5}}",
         "sample has no `unlabelled`"),
        ("base: llm\n", "base: llm\n    teacher: plain\n",
         r"the learner llm can't learn from a teacher; these can: linear \(labels\), linear of kind scoring, encoder"),
        ("{epochs: 0}}", "{epochs: 0}, teacher: plain}", r"nothing is trained \(epochs 0\)"),
    ],
)  # fmt: skip
def test_what_can_not_teach_or_learn_is_told(tmp_path, old, new, said):
    with pytest.raises(RetuneError, match=said):
        resolve(write(tmp_path, OTHER_TASK, ("params.yaml", PLAIN.strip(), PLAIN.strip().replace(old, new))
                      if old in PLAIN else ("params.yaml", old, new)))  # fmt: skip


def test_a_circle_is_told_once(tmp_path):
    write(tmp_path, ("params.yaml", PLAIN, PLAIN.replace("scratch}", "scratch, teacher: cross}")))
    replace(tmp_path, "params.yaml", "{name: focal}\n", "{name: focal}\n    teacher: plain\n")
    with pytest.raises(
        RetuneError, match=r"cross\.teacher: is a circle: cross learns from plain learns from cross"
    ) as told:
        resolve(tmp_path)
    assert str(told.value).count("circle") == 1


def test_unlabelled_files_are_mapped_to_texts_alone_and_fetch_nothing_new(tmp_path):
    table = "  unlabelled:\n    - {file: rows.jsonl, columns: {text_a: a, text_b: b}}\n"
    write(tmp_path, TAUGHT)
    before = resolve(tmp_path)
    replace(tmp_path, "data/catalog.yaml", "  generator: similarity\n", f"  generator: similarity\n{table}")
    after = resolve(tmp_path)
    changed = {name for name in after.files if after.files[name] != before.files.get(name)}
    assert changed == {"resolved/teach/plain.json"}
    assert after.resolved["students"]["plain"]["unlabelled"] == [
        {"file": "rows.jsonl", "columns": {"text_a": "a", "text_b": "b"}}
    ]
    replace(tmp_path, "data/catalog.yaml", "{text_a: a, text_b: b}}", "{text_a: a, label: b}, split: test}")
    with pytest.raises(
        RetuneError, match=r"(?s)no column `label` of rows without a label.*has no `text_b`.*split: is for rows with"
    ):
        resolve(tmp_path)


def test_resolve_writes_who_teaches_and_ends_a_run_that_began_without(tmp_path, monkeypatch, compiled):
    monkeypatch.chdir(write(tmp_path, TAUGHT))
    monkeypatch.setattr("sys.argv", ["resolve"])
    (tmp_path / "data/lessons/untuned/taught").mkdir(parents=True)
    (tmp_path / "data/lessons/gone").mkdir()
    with pytest.raises(SystemExit, match=r"`teacher` .*changed .*new: plain \(taught by chatty\).*same command"):
        resolve_stage()
    resolve_stage()
    written = {file.parent.name: json.loads(file.read_text())["teacher"] for file in teachers.FOLDER.glob("*/*.json")}
    assert written == {"plain": "chatty", "untuned": None, "cross": None, "chatty": None}
    assert not Path("data/lessons/untuned/taught").exists(), "lessons of a model that has no teacher any more"
    assert not Path("data/lessons/gone").exists()
    replace(tmp_path, "params.yaml", "teacher: chatty", "teacher: cross")
    with pytest.raises(SystemExit, match=r"new: plain \(taught by cross\); gone: plain \(taught by chatty\)"):
        resolve_stage()


def test_repro_writes_the_file_first_where_a_model_has_a_teacher(tmp_path, compiled):
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").write_text("models: {a: {teacher: b}}")
    seeds.prepare(lambda: compiled.seeded, tmp_path)
    assert seeds.read(tmp_path)["students"].keys() == {"plain", "cross", "cross-43"}


def test_impact_says_what_a_new_teacher_costs(tmp_path):
    write(tmp_path, TAUGHT)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    replace(tmp_path, "params.yaml", "seed: 7\n", "seed: 7\nexports: {}\n")
    files = resolve(tmp_path).files
    from retune.pipeline import reads

    stages = {
        one.address: {
            "deps": [{"path": dep, "md5": reads.digest(files[dep]) if dep in files else "x"} for dep in one.deps],
            "outs": [{"path": out} for out in one.outs],
        }
        for one in instances.read(tmp_path, {**resolve(tmp_path).resolved, "outside": {}})
    }
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": stages}))
    replace(tmp_path, "params.yaml", "    training: {epochs: 2}", "    training: {epochs: 3}")
    stale = {one.instance.address for one in impact(tmp_path)}
    assert {"train@chatty", "teach@plain", "train@plain", "predict@plain"} <= stale
    assert not {"train@cross", "train@untuned", "teach@cross"} & stale


@pytest.mark.slow
def test_dvc_has_the_same_stages_and_no_circle(tmp_path, compiled):
    from dvc.repo import Repo

    write(tmp_path, TAUGHT, SEEDED)
    replace(tmp_path, "params.yaml", "seed: 7\n", "seed: 7\nexports: {}\n")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for file, content in (("outside", compiled.outside), ("generated", compiled.seeded)):
        (tmp_path / f"data/{file}.json").write_text(json.dumps(content))
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        stages = repo.index.stages
        repo.check_graph(stages)
        assert {"teach@plain", "teach@cross-43"} <= {stage.name for stage in stages}
        graph = repo.index.graph
        behind = {stage.name: {other.name for other in graph.successors(stage)} for stage in graph}
    assert "teach@plain" in behind["train@plain"]
    assert "train@chatty" in behind["teach@plain"]


def test_the_declarations_here_say_who_teaches_whom():
    files = (ROOT / teachers.FOLDER).glob("*/*.json")
    written = {file.parent.name: json.loads(file.read_text())["teacher"] for file in files}
    expected = {name: spec.get("teacher", {}).get("model") for name, spec in resolved(ROOT)["models"].items()}
    assert written == expected
