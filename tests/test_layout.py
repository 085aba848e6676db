"""The tests lie as the code does: a folder for each package, helpers in support/, no import between test modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support import ROOT

TESTS = ROOT / "tests"
WITHOUT_A_PACKAGE = {"support", "whole_builds"}


def folders(top: Path) -> Iterator[Path]:
    """Every folder with code below `top`."""
    return (path for path in sorted(top.rglob("*/")) if any(path.glob("*.py")))


def imported(source: str) -> Iterator[str]:
    """Every name that a module may import: `from a import b` may mean `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_test_module(name: str) -> bool:
    return name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))


def test_no_module_imports_a_test_module() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in sorted(TESTS.rglob("*.py"))
        if (names := [name for name in imported(path.read_text(encoding="utf-8")) if is_test_module(name)])
    }
    assert found == {}, "what tests share belongs in tests/support"


def test_every_folder_of_tests_mirrors_a_package() -> None:
    own = {path.relative_to(TESTS) for path in folders(TESTS)}
    packages = {path.relative_to(ROOT / "retune") for path in folders(ROOT / "retune")}
    assert {str(path) for path in own - packages if path.parts[0] not in WITHOUT_A_PACKAGE} == set()


def test_pytest_skips_no_folder_by_its_name(pytestconfig: pytest.Config) -> None:
    patterns = pytestconfig.getini("norecursedirs")
    assert "build" in patterns, "a folder of this name would hide its tests"
    skipped = [
        str(path.relative_to(ROOT))
        for top in (TESTS, ROOT / "retune")
        for path in folders(top)
        if any(fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert skipped == []


def test_what_uses_a_whole_build_is_marked_slow(request: pytest.FixtureRequest) -> None:
    """Whoever shares the built project or a browser, through whatever other fixture, is not for `make test-fast`."""
    dear = {"built", "browser"}
    found = [
        item.nodeid
        for item in request.session.items
        if any(_of_conftest(item, name) for name in dear) and not item.get_closest_marker("slow")
    ]
    assert found == [], "each worker of `make test-fast` would wait for a build: `@pytest.mark.slow`"


def _of_conftest(item: pytest.Item, name: str) -> bool:
    """Whether the test uses this fixture of tests/conftest.py, not one of its own by that name."""
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return name in known and known[name][-1].func.__module__ == "tests.conftest"
