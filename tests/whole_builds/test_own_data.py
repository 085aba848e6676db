"""Data in data/external: shared by DVC, never committed."""

import shutil

from dvc.repo import Repo

from tests.support import ROOT
from tests.support.project import Project


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
