"""README.md, CONTRIBUTING.md and docs/: links lead somewhere, and what a reader is told to type exists.

That each variant (`dvc exp run -S ...`) resolves is tested in tests/pipeline/test_profiles.py.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from retune.cli import commands
from retune.pipeline.fingerprint import STAGES
from retune.pipeline.keys import all_keys
from retune.pipeline.resolve import resolve
from retune.pipeline.yaml_file import read
from tests.support import ROOT
from tests.support.checkout import lay_out
from tests.support.declarations import replace

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *DOCS]

CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"under `([\w.]+):`\n\n```yaml\n(.*?)```", re.DOTALL)
PATH = re.compile(r"`((?:benchmarks|docs|profiles|prompts|retune|stages|tests)/[\w./-]*)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def code(page: Path) -> Iterator[str]:
    """The lines of a page's blocks of code, a continued one in one piece."""
    for block in CODE.findall(page.read_text(encoding="utf-8")):
        yield from block.replace("\\\n", " ").splitlines()[1:-1]


def typed(page: Path, command: str) -> Iterator[list[str]]:
    """The words behind `command` wherever a line of code begins with it."""
    for line in code(page):
        if line.startswith(command + " "):
            yield shlex.split(line, comments=True)[1:]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_a_link_leads_to_a_file_of_the_project_and_to_a_heading_in_it(page):
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pages
def test_a_reference_is_defined_and_used(page):
    defined = re.findall(r"^\[([^\]]+)\]: \S+$", prose(page), re.MULTILINE)
    body = re.sub(r"^\[[^\]]+\]: \S+$", "", prose(page), flags=re.MULTILINE)
    assert len(set(defined)) == len(defined)
    for label in defined:
        assert f"[{label}]" in body, label
    for label in re.findall(r"\]\[([^\]]+)\]|arXiv \[([^\]]+)\](?!\()", body):
        assert "".join(label) in defined, label


@pages
def test_a_path_of_the_project_that_a_page_names_exists(page):
    for path in PATH.findall(prose(page)):
        if not re.search(r"[A-Z]{3,}", path):  # NAME stands for any name
            assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path


def test_the_readme_is_one_page_and_no_line_is_long():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_no_line_of_the_docs_is_long(page):
    assert [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 140] == []


def test_each_page_of_the_docs_is_listed_by_the_question_that_it_answers():
    listed = set(LINK.findall(prose(ROOT / "docs/README.md")))
    assert {page.name for page in DOCS} - {"README.md"} <= listed


@pages
def test_a_command_of_retune_exists_and_has_the_options(page):
    known = typer.main.get_command(commands).commands
    for name, *words in typed(page, "retune"):
        assert name in known, name
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, name


@pages
def test_a_target_of_make_exists(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name, *_ in typed(page, "make"):
        assert name in targets, name


@pages
def test_a_profile_exists(page):
    for name in re.findall(r"profiles/([a-z][\w-]*)", page.read_text(encoding="utf-8")):
        assert (ROOT / "profiles" / name).is_file(), name


@pages
def test_an_override_names_a_key_of_params_yaml(page):
    for key in re.findall(r"-S '?[+~]?([\w.]+)=", page.read_text(encoding="utf-8")):
        assert is_key(key), key


def is_key(path: str) -> bool:
    """Whether a path names a key of params.yaml: one of the schema's, of an entry that is there."""
    params = read(ROOT, "params.yaml").data
    first, *rest = path.split(".")
    if first in ("tasks", "models", "bases") and rest[0] not in params[first]:
        return False
    keys = [key.path for key in all_keys() if key.file == "params.yaml"]
    below = [f"{part}.NAME.{key}" for part in ("tasks", "models") for key in keys]  # an entry's own sections
    patterns = [re.escape(key).replace("NAME", r"[\w-]+") for key in [*keys, *below, "bases.NAME"]]
    return any(re.fullmatch(pattern, path) for pattern in patterns)


@pages
def test_an_instance_of_a_stage_exists(page):
    params = read(ROOT, "params.yaml").data
    for stage, instance in re.findall(r"\b([a-z_]+)@(?!v\d)([a-z]\w+)", page.read_text(encoding="utf-8")):
        assert stage in STAGES, stage
        assert instance in params[STAGES[stage]], instance


BLOCKS = [
    pytest.param(place, text, id=f"{page.name}:{place}-{number}")
    for page in [README, *DOCS]
    for number, (place, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1)
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "text"), BLOCKS)
def test_a_block_for_params_yaml_resolves_at_its_place(place, text, tmp_path):
    lay_out(tmp_path)
    before = resolve(tmp_path).resolved
    heading = "  " * place.count(".") + place.rpartition(".")[2] + ":"
    found = re.search(rf"^{heading}[^\n]*\n", (tmp_path / "params.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, place
    replace(tmp_path, "params.yaml", found[0], found[0] + text)
    assert resolve(tmp_path).resolved != before
