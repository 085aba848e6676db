"""What cannot change a result makes no stage stale; what a stage shows or computes with does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from retune.pipeline.fingerprint import DATA, STAGES, Code
from retune.pipeline.syntax import syntax
from retune.pipeline.uncounted import UNCOUNTED
from tests.support import ROOT
from tests.support.declarations import replace, resolved, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with its own copy of the code."""
    return write(tmp_path, code=True)


LEAVES = {"retune", "retune.errors", "retune.params", "retune.pipeline", "retune.atomic_file"}
DECLARING = {
    "retune.exports",  # the table alone
    "retune.learners",  # the table alone
    "retune.pipeline.fingerprint",
    "retune.pipeline.instances",
    "retune.pipeline.reads",
    "retune.pipeline.syntax",
    "retune.pipeline.uncounted",
    "retune.pipeline.yaml_file",
    "retune.sources",
    "retune.sources.cache",  # where downloads lie
    "retune.sources.path",  # where sources lie
}
"""What strict stages ask what an instance may use; none of it is theirs to change."""


def codes(folder: Path) -> dict[str, str]:
    code = resolved(folder)["code"]
    flat = {f"{stage}.{name}": digest for stage in STAGES for name, digest in code[stage].items()}
    return flat | {"report": code["report"]}


def locked(folder: Path, package: str, version: str = "99.0") -> None:
    file = folder / "requirements.lock"
    text = re.sub(rf"^{package}==.*$", f"{package}=={version}", file.read_text(encoding="utf-8"), flags=re.M)
    assert f"{package}=={version}" in text
    file.write_text(text, encoding="utf-8")


def test_what_cannot_change_a_result_makes_nothing_stale(folder):
    before = codes(folder)
    files = Code(folder).files
    for module in UNCOUNTED:
        file = files[module]
        file.write_text(file.read_text(encoding="utf-8") + "\nMARK = 1\n", encoding="utf-8")
    for name in ("llm/fit.py~", "llm/fit.py.orig", "llm/#fit.py#", "llm/.fit.py.swp", "notes.md", "llm/notes"):
        (folder / "retune/learners" / name).write_text("x = 1\n", encoding="utf-8")
    (folder / "retune/notes.md").write_text("a note\n", encoding="utf-8")
    locked(folder, "tqdm")
    locked(folder, "dvclive")
    assert codes(folder) == before


def test_an_uncounted_module_says_why_and_imports_nothing_that_computes():
    code = Code(ROOT)
    for module, reason in UNCOUNTED.items():
        assert reason
        closure = code.closure([name for name in code.module(module).project if name not in UNCOUNTED])
        assert set(closure) <= LEAVES | (DECLARING if module.startswith("retune.pipeline.strict") else set())


def test_all_of_what_holds_stages_is_left_out_together():
    held = {name for name in Code(ROOT).files if name.startswith("retune.pipeline.strict")}
    assert held == {name for name in UNCOUNTED if name.startswith("retune.pipeline.strict")}


@pytest.mark.slow
def test_the_package_that_quantises_counts_where_weights_are_quantised(folder):
    before = codes(folder)
    locked(folder, "bitsandbytes")
    assert codes(folder) == before, "of 16 bits it computes nothing"
    replace(folder, "params.yaml", "lora: {r: 16}", "lora: {r: 16}\nquantization: {bits: 4}")
    before = codes(folder)
    locked(folder, "bitsandbytes", "99.1")
    after = codes(folder)
    assert {name for name in before if before[name] != after[name]} == {"train.chatty", "predict.chatty"}


def text(source: str) -> str:
    return syntax(ast.parse(source))[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import a\nfrom b import c, d\nx = 1", "from b import d, c\nimport a\nx = 1"),
        ("def f(a: int, b: str = 'x') -> None:\n  y: int = 1\n  return a", "def f(a, b='x'):\n  y = 1\n  return a"),
        ("class A:\n  x: int\n  y: str = ''", "class A:\n  x: list[int]\n  y: Any = ''"),
        ("class A(NamedTuple):\n  x: int", "class A(NamedTuple):\n  x: float"),
        ("from typing import Any\nx = 1", "x = 1"),
        ("if TYPE_CHECKING:\n  import b\nx = 1", "x = 1"),
        ("'''Doc.'''\nx = 1  # why", "x = 1"),
    ],
)
def test_what_means_the_same_is_the_same(one, other):
    assert text(one) == text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import a\nx = 1\nimport b", "import a\nimport b\nx = 1"),
        ("from a import b", "from a import c"),
        ("import a as b", "import a as c"),
        ("def f(a, b=1): return a", "def f(a, b=2): return a"),
        ("class A:\n  x: int\n  y: int", "class A:\n  y: int\n  x: int"),
        ("class A:\n  x: int", "class A:\n  x: ClassVar[int]"),
        ("class A(Schema):\n  x: int", "class A(Schema):\n  x: str"),
        ("x: int = 1", "x: int = 2"),
        ("def f():\n  'Doc.'\n  return 'a'", "def f():\n  'Doc.'\n  return 'b'"),
    ],
)
def test_what_means_something_else_is_not(one, other):
    assert text(one) != text(other)


def test_every_file_that_a_module_or_a_template_names_counts_where_that_is_used():
    """`report/style.css` for all who show it: the owner of a named file is in the closure of whoever names it."""
    code = Code(ROOT)
    owner = {file: name for name, files in code.data_files.items() for file in files}
    called: dict[str, list[Path]] = {}
    for file in owner:
        called.setdefault(file.name, []).append(file)
    named = 0
    for user, file in [*code.files.items(), *((name, file) for file, name in owner.items())]:
        if file.suffix not in (".py", ".html"):
            continue
        said = set(re.findall(r"[\"'/]([\w.]+)[\"']", file.read_text(encoding="utf-8")))
        for name in said:
            near = [other for other in called.get(name, []) if file.is_relative_to(other.parent)]
            if near:  # of two files of a name, the one that is closer
                named += 1
                found = owner[max(near, key=lambda other: len(other.parts))]
                assert found in code.closure([user]), f"{file} names {name}, which counts for {found}"
    assert named >= 10


def test_data_files_are_those_of_the_suffixes_that_modules_read():
    known = {file for files in Code(ROOT).data_files.values() for file in files}
    there = {
        file
        for folder in ("retune", "stages")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert there == known, f"beside code, only files of {DATA} stand there"
