"""What a build has to do: chains of stages in the order of the graph, the longest way first, and for how long."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from retune.pipeline import instances, plan
from retune.pipeline.instances import Instance
from retune.pipeline.plan import START
from retune.pipeline.resolve import resolve
from tests.support import ROOT
from tests.support.declarations import replace, write


def stage(address: str, deps: str = "", outs: str = "") -> Instance:
    name, _, key = address.partition("@")
    return Instance(name, key, "", tuple(deps.split()), tuple((outs or address).split()), ())


DIAMOND = [
    stage("base"),
    stage("rows@a"),
    stage("split@a", "rows@a"),
    stage("train@x", "base split@a"),
    stage("predict@x", "train@x base split@a"),
    stage("evaluate@x", "predict@x split@a"),
    stage("train@y", "base split@a"),
    stage("compare@a", "evaluate@x train@y"),
]


def of(every: list[Instance], folder: Path, goals: list[str] | None = None, **more: Any) -> plan.Plan:
    return plan.of(folder, every, goals or [], {one.address: True for one in every}, more)


def chains(found: plan.Plan) -> dict[str, list[str]]:
    return {name: [one.address for one in unit.stages] for name, unit in found.units.items()}


def test_stages_that_wait_for_one_alone_are_one_unit(tmp_path):
    found = of(DIAMOND, tmp_path)
    assert chains(found) == {
        "base": ["base"],
        "rows@a": ["rows@a", "split@a"],
        "train@x": ["train@x", "predict@x", "evaluate@x"],
        "train@y": ["train@y"],
        "compare@a": ["compare@a"],
    }
    assert {name: unit.needs for name, unit in found.units.items()} == {
        "base": set(),
        "rows@a": set(),
        "train@x": {"base", "rows@a"},
        "train@y": {"base", "rows@a"},
        "compare@a": {"train@x", "train@y"},
    }


def test_a_long_stage_beside_others_is_a_unit_of_its_own_and_a_short_one_goes_on(tmp_path):
    log = tmp_path / ".retune/logs"
    log.mkdir(parents=True)
    (log / "export-x.log").write_text("INFO done in 30.0 s\n")
    (log / "calibrate-x.log").write_text("INFO done in 0.2 s\n")
    every = [stage("train@x"), stage("calibrate@x", "train@x"), stage("export@x", "train@x")]
    assert chains(of(every, tmp_path)) == {"train@x": ["train@x", "calibrate@x"], "export@x": ["export@x"]}


def test_the_way_is_the_longest_to_the_end(tmp_path):
    log = tmp_path / ".retune/logs"
    log.mkdir(parents=True)
    for one in DIAMOND:
        (log / f"{one.stage}-{one.key}.log").write_text("INFO done in 10.0 s\n")
    found = of(DIAMOND, tmp_path)
    way = {name: unit.way for name, unit in found.units.items()}
    assert way["compare@a"] == 10 + START
    assert way["train@x"] == 30 + START + way["compare@a"]
    assert way["rows@a"] == 20 + START + way["train@x"]
    assert found.seconds(1, found.units) == pytest.approx(80 + 5 * START)
    assert found.seconds(2, found.units) == way["rows@a"]  # no number of workers makes it shorter
    assert found.seconds(2, {"compare@a"}, {"train@x": 25.0}) == pytest.approx(way["train@x"] - 25)
    assert found.words(2) == "8 stages to build, 2 at a time: about 63.9 s, as last time"


def test_what_never_ran_is_told_as_a_guess(tmp_path):
    assert "a guess, since none of them ran here before" in of(DIAMOND, tmp_path).words(2)
    log = tmp_path / ".retune/logs"
    log.mkdir(parents=True)
    (log / "train-x.log").write_text("INFO done in 10.0 s\n")
    assert of(DIAMOND, tmp_path).words(2).endswith("7 of them a guess, since they never ran here")
    assert plan.of(tmp_path, DIAMOND, ["nothing"], {}, {}).words(2) == "nothing is stale"


def test_what_runs_only_where_results_differ_is_told_apart(tmp_path):
    log = tmp_path / ".retune/logs"
    log.mkdir(parents=True)
    for one in DIAMOND:
        (tmp_path / one.address).touch()
        (log / f"{one.stage}-{one.key}.log").write_text("INFO done in 10.0 s\n")
    stale = {one.address: one.stage == "split" for one in DIAMOND if one.address not in ("base", "rows@a")}
    found = plan.of(tmp_path, DIAMOND, [], stale, {})
    assert found.words(1) == (
        "1 stage to build, 1 at a time, and 5 behind them where results differ: 10.0 s to 65.2 s, as last time"
    )


def test_only_what_is_stale_or_absent_is_planned(tmp_path):
    for one in DIAMOND:
        (tmp_path / one.address).touch()
    found = plan.of(tmp_path, DIAMOND, [], {"train@y": True, "compare@a": False}, {})
    assert chains(found) == {"train@y": ["train@y", "compare@a"]}
    (tmp_path / "base").unlink()
    found = plan.of(tmp_path, DIAMOND, [], {"train@y": True}, {})
    assert chains(found) == {"base": ["base", "train@y"]}


def test_goals_need_what_they_are_made_from_alone(tmp_path):
    found = of(DIAMOND, tmp_path, ["train@y"])
    assert sorted(chains(found)) == ["base", "rows@a", "train@y"]


def test_a_project_is_planned_as_its_graph_says(tmp_path):
    write(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    replace(
        tmp_path, "params.yaml", "    loss: {name: focal}\n",
        "    loss: {name: focal}\n    seeds: [5, 43]\n    ensemble: mean\n",
    )  # fmt: skip
    resolution = resolve(tmp_path)
    values = {**resolution.resolved, **resolution.outside}
    every = instances.read(tmp_path, values)
    found = plan.of(tmp_path, every, [], {one.address: True for one in every}, values)
    built = [address for chain in chains(found).values() for address in chain]
    assert sorted(built) == sorted(one.address for one in every if one.stage not in ("resolve", "watch"))
    assert chains(found)["train@plain"] == [f"{stage}@plain" for stage in ("train", "predict", "calibrate", "evaluate")]
    assert found.units["ensemble@cross-mean"].needs >= {"train@cross", "train@cross-43"}
    assert found.units["compare@questions"].needs >= {"train@plain", "ensemble@cross-mean"}
    assert found.units["report"].way == min(unit.way for unit in found.units.values())
    for place, unit in enumerate(found.units.values()):  # none needs itself, or one that comes later
        assert unit.needs <= set(list(found.units)[:place])
    assert found.units["train@chatty"].seconds > found.units["train@plain"].seconds
