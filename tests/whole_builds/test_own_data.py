"""Data in data/external: shared by DVC, never committed."""

import shutil

import polars as pl
import pytest
import yaml
from dvc.repo import Repo

from tests.support import ROOT
from tests.support.project import Project, clone

pytestmark = pytest.mark.slow


def test_own_data_is_added_to_dvc_and_found_by_it(tmp_path):
    project = Project(tmp_path)
    shutil.copy2(ROOT / ".gitignore", tmp_path)
    for name in ("external/own/rows.csv", "external/other.csv", "raw/rows.csv", "external/README.md"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("a,b\n")
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("dvc", "add", "-q", "data/external/own")
    project.commit()
    committed = project.run("git", "ls-files", "data").split()
    assert committed == ["data/external/README.md", "data/external/own.dvc"]
    assert [out.fs_path for out in Repo(str(tmp_path)).index.outs] == [str(tmp_path / "data/external/own")]


def test_rows_appended_outside_of_the_project_are_built(tmp_path):
    store = tmp_path / "store/rows.csv"
    store.parent.mkdir()
    store.write_text("a,b,y\n" + "".join(f"第{i}个,另{i}个,{i % 2}\n" for i in range(60)))
    folder = tmp_path / "project"
    folder.mkdir()
    project = clone(folder, {})
    tables = [{"file": "rows.csv", "columns": {"text_a": "a", "text_b": "b", "label": "y"}}]
    change(folder / "data/catalog.yaml", own={"kind": "path", "path": "../store", "license": "none", "tables": tables})
    models = {"own_linear": {"task": "own", "learner": "linear", "base": "scratch"}}
    change(folder / "params.yaml", tasks={"own": {"kind": "pair", "source": "own"}}, models=models)
    project.repro("convert@own")
    built = folder / "data/converted/own/rows.parquet"
    assert pl.read_parquet(built).height == 60
    assert project.repro("convert@own") == ["watch@data-own", "resolve"]  # DVC has only now seen that there is a watch
    assert project.repro("convert@own") == ["watch@data-own"]
    with store.open("a") as stream:
        stream.write("新的,新问题,1\n")
    assert project.repro("convert@own") == ["watch@data-own", "resolve", "download@own", "convert@own"]
    assert pl.read_parquet(built).height == 61
    store.unlink()
    assert "own.path: ../store holds no files" in project.run("dvc", "repro", "convert@own", fails=True)


def change(file, **sections):
    content = yaml.safe_load(file.read_text(encoding="utf-8")) | sections
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
