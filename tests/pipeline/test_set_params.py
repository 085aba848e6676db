"""`-S` of retune's own commands: tried on a copy of params.yaml, or written into it, where it can be built."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from retune.errors import RetuneError
from retune.pipeline import parallel_repro, set_params
from tests.support.declarations import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


def said(params: Path) -> dict:
    return yaml.safe_load(params.read_text(encoding="utf-8"))


def test_a_try_leaves_the_project_as_it_is(folder):
    before = (folder / "params.yaml").read_bytes()
    with set_params.tried(folder, ["seed=7", "+tasks.more={kind: pair}"]) as params:
        assert said(params)["seed"] == 7
        assert said(params)["tasks"]["more"] == {"kind": "pair"}
        tried = params
    assert not tried.exists()
    assert (folder / "params.yaml").read_bytes() == before


def test_written_overrides_stand_in_params_yaml_and_nothing_else_changes(folder):
    before = said(folder / "params.yaml")
    files = {path.name for path in folder.iterdir()}
    set_params.write(folder, ["seed=7"])
    assert said(folder / "params.yaml") == {**before, "seed": 7}
    assert {path.name for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lora.rr=8", "-S lora.rr=8: .*rr"),  # hydra's own: no such key
        ("seed=many", "seed.*many"),  # of the wrong type
        ("models.plain.base=none", "there is no role `none`"),  # a contradiction
        ("seed", "-S seed: "),  # no override at all
    ],
)
def test_what_can_not_be_built_is_not_written(folder, override, words):
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(RetuneError, match=words):
        set_params.write(folder, [override])
    assert (folder / "params.yaml").read_bytes() == before
    assert not list(folder.glob(".params*"))


def test_a_build_with_overrides_that_can_not_be_starts_no_stage(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(parallel_repro, "_build", lambda *_: pytest.fail("a build began"))
    with pytest.raises(RetuneError, match="seed"):
        parallel_repro.repro([], 1, overrides=["seed=many"])


def test_a_build_reads_what_was_written(folder, monkeypatch):
    monkeypatch.chdir(folder)
    seen = []
    monkeypatch.setattr(parallel_repro, "_build", lambda *_: seen.append(said(Path("params.yaml"))["seed"]))
    parallel_repro.repro([], 1, overrides=["seed=7"])
    assert seen == [7]
