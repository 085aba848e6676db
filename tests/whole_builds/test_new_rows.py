"""Rows appended to a source: its task alone is built, old rows keep their split, and the log says what is new."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from retune.data.split import SPLITS
from tests.support.project import RUNNING, Project, clone

pytestmark = pytest.mark.slow

TARGETS = ("split@own", "split@other")
STAGES = ["download@own", "convert@own", "augment@own", "split@own"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two tasks over files of their own, both divided."""
    built = clone(tmp_path / "project", {})
    sources, tasks = {}, {}
    for name in ("own", "other"):
        file = built.folder / f"data/external/{name}/rows.csv"
        file.parent.mkdir(parents=True)
        file.write_text("文本,类\n" + "".join(f"{name} 第{n}句,{'咨询' if n % 3 else '投诉'}\n" for n in range(120)))
        tables = [{"file": "rows.csv", "columns": {"text": "文本", "label": "类"}}]
        sources[name] = {"kind": "path", "path": f"data/external/{name}", "license": "none", "tables": tables}
        tasks[name] = {"kind": "classification", "source": name, "labels": ["咨询", "投诉"]}
    write(built.folder / "data/catalog.yaml", **sources)
    models = {f"{name}_linear": {"task": name, "learner": "linear", "base": "scratch"} for name in tasks}
    write(built.folder / "params.yaml", tasks=tasks, models=models)
    built.repro(*TARGETS)
    return built


def write(file: Path, **sections: object) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | sections
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def places(project: Project) -> dict[str, str]:
    """Text -> split, of the task whose rows change."""
    files = {name: project.folder / f"data/splits/own/{name}.parquet" for name in SPLITS}
    return {text: name for name, file in files.items() for text in pl.read_parquet(file)["text"]}


def test_appended_rows_build_their_task_alone_and_the_log_says_what_is_new(project):
    before = places(project)
    assert len(before) == 120
    shutil.rmtree(project.folder / ".retune")  # another machine, that pulled the outputs, has none
    with (project.folder / "data/external/own/rows.csv").open("a") as stream:
        stream.write("".join(f"新的第{n}句,退款\n" for n in range(30)) + "多一句,咨询\n没有类,\n")
    project.edit("params.yaml", "- 投诉", "- 投诉\n    - 退款")
    said = project.run("dvc", "repro", *TARGETS)
    assert RUNNING.findall(said) == ["resolve", *STAGES]
    after = places(project)
    assert before.items() <= after.items()
    assert len(after) == 151
    new = [text for text in after if text not in before]
    of = {name: sum(after[text] == name and text.startswith("新") for text in new) for name in SPLITS}
    lines = said.splitlines()
    assert "since the last build: 31 new rows; 120 as before, in the same splits" in lines
    (told,) = (line for line in lines if line.startswith("new rows by label: "))
    assert {name: int(n) for name, n in re.findall(r"(\w+) 退款 (\d+)", told)} == {k: n for k, n in of.items() if n}
    assert f"{after['多一句']}" in told
    assert re.findall(r"咨询 (\d+)", told) == ["1"]
    assert "labels that are new: 退款" in lines
    place = lines.index("rejects since the last build: 1 new, 0 gone")
    assert lines[place + 1].startswith("  rows.csv:153: `label` ")

    assert not (project.folder / ".retune/earlier/split/own").exists(), "it is told once"
    assert project.repro(*TARGETS) == []
    project.edit("data/external/own/rows.csv", "own 第0句,投诉", "own 第0句,咨询")
    said = project.run("dvc", "repro", *TARGETS)
    assert RUNNING.findall(said) == ["resolve", *STAGES]
    assert "since the last build: 0 new rows, 1 with another label; 150 as before, in the same splits" in said
    assert "rejects since" not in said
