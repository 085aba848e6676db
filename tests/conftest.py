"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of stages would each compile the same modules again
settings.register_profile("same", derandomize=True, deadline=None)  # the same examples in every run, however slow
settings.load_profile("same")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Long bytes by their length: an archive has the time at which it was made, and workers must agree on names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 40 else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the workers of pytest-xdist begin with the whole builds: what is left for the end is short, and divides well.

    Each gets an equal part of the tests, in their order. The first gets those that share `built`, for which others
    would wait, and the second the other whole builds.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    sharing = [item for item in items if "built" in item.fixturenames and _shares(item)]
    others = [item for item in items if "whole_builds" in item.path.parts and item not in sharing]
    first = {*sharing, *others}
    rest = [item for item in items if item not in first]
    beside = max(0, len(items) // workers - len(sharing))
    items[:] = [*sharing, *rest[:beside], *others, *rest[beside:]]


def pytest_collection_finish() -> None:
    """Hide what imports have made from the garbage collector, which each training has look at every object there is."""
    gc.collect()
    gc.freeze()


def _shares(item: pytest.Item) -> bool:
    """Whether it is the `built` of this file that the test uses."""
    return item._fixtureinfo.name2fixturedefs["built"][-1].scope == "session"


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder of a small project, built once for all workers and committed; copy it before a change."""
    from tests.support.project import clone
    from tests.support.tiny_encoder import tiny_encoder
    from tests.support.tiny_llm import tiny_llm

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "built" / "project"
    with FileLock(shared / "built.lock"):
        if not (shared / "built.done").exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            bases = {"encoder": shared / "built" / "encoder", "llm": shared / "built" / "llm"}
            tiny_encoder(bases["encoder"])
            tiny_llm(bases["llm"])
            folder.mkdir(parents=True)
            project = clone(folder, bases)
            project.repro()
            project.commit("built")
            (shared / "built.done").touch()
    return folder


@pytest.fixture
def project(built, tmp_path):
    """A built project of the test's own."""
    from tests.support.project import Project

    return Project(built).copy(tmp_path / "project")


CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    found = CHROMIUM if CHROMIUM.exists() else shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(found), args=ARGUMENTS)
        yield opened
        opened.close()
