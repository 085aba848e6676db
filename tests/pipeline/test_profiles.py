"""A profile is a list of `-S` overrides; each composes onto params.yaml as `xargs dvc exp run` does, and resolves."""

import re
import shlex

import pytest
from dvc.utils.hydra import apply_overrides

from retune.pipeline.declarations import load
from retune.pipeline.resolve import resolve
from retune.pipeline.yaml_file import read
from retune.sources.path import expand
from tests.support import ROOT
from tests.support.checkout import lay_out
from tests.support.declarations import replace

PROFILES = sorted(path for path in (ROOT / "profiles").iterdir() if path.is_file() and path.name[0] != ".")


def overrides(text: str) -> list[str]:
    """The values of `-S` or `--set-param` in a profile, as a shell would split it."""
    words = shlex.split(text)
    assert len(words) % 2 == 0
    assert set(words[::2]) <= {"-S", "--set-param"}
    return [word.removeprefix("params.yaml:") for word in words[1::2]]


def stand_in(folder, monkeypatch) -> None:
    """An empty file for each file that the tables of `path` sources name."""
    for source in load(folder).sources.values():
        if source.kind == "path":
            for variable in re.findall(r"\$\{?(\w+)", source.path):
                monkeypatch.setenv(variable, str(folder / "outside" / variable))
            root = folder / expand(source.path)
            for table in source.tables:
                (root / table.file).parent.mkdir(parents=True, exist_ok=True)
                (root / table.file).touch()


@pytest.fixture(scope="module")
def default_build(tmp_path_factory):
    """The default build, resolved."""
    folder = tmp_path_factory.mktemp("default")
    lay_out(folder)
    return resolve(folder).resolved


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_composes_and_resolves(profile, default_build, tmp_path, monkeypatch):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    stand_in(tmp_path, monkeypatch)
    apply_overrides(tmp_path / "params.yaml", overrides(profile.read_text(encoding="utf-8")))
    assert resolve(tmp_path).resolved != default_build


NAMING = [path for path in PROFILES if "~models" in overrides(path.read_text(encoding="utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("profile", NAMING, ids=lambda path: path.name)
def test_a_profile_builds_what_it_names_whatever_joins_the_default_build(profile, tmp_path, monkeypatch):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    for section, entry in LATER.items():
        replace(tmp_path, "params.yaml", f"\n{section}:\n", f"\n{section}:\n  later: {entry}\n")
    stand_in(tmp_path, monkeypatch)
    text = profile.read_text(encoding="utf-8")
    apply_overrides(tmp_path / "params.yaml", overrides(text))
    built = resolve(tmp_path).resolved
    for section in LATER:
        if f"~{section}" in overrides(text):
            assert built[section].keys() == set(re.findall(rf"\+{section}\.(\w+)", text))


LATER = {
    "tasks": "{kind: pair, source: similarity-sample, prompt: similarity}",
    "models": "{task: similarity, learner: llm, base: llm}",
    "exports": "{model: later, task: similarity, base: llm}",
}
"""A task, a model and an export of it that somebody adds to params.yaml."""


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_deletes_no_model_by_its_name(profile):
    """It would build each model that is added to params.yaml until somebody adds a deletion."""
    assert [word for word in overrides(profile.read_text(encoding="utf-8")) if word.startswith("~models.")] == []


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
VARIANTS = [
    pytest.param(line, id=f"{page.name}:{number}")
    for page in PAGES
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    if line.startswith("dvc exp run -S")
]


@pytest.mark.slow
@pytest.mark.parametrize("command", VARIANTS)
def test_a_variant_of_the_docs_composes_and_resolves(command, default_build, tmp_path):
    lay_out(tmp_path)
    words = shlex.split(command, comments=True)[3:]
    apply_overrides(tmp_path / "params.yaml", overrides(shlex.join(words)))
    assert resolve(tmp_path).resolved != default_build


def test_what_a_profile_writes_is_read_as_dvc_reads_it(tmp_path, monkeypatch):
    """DVC writes 1e-05, which YAML 1.1 would take for text."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    apply_overrides(
        tmp_path / "params.yaml", ["training.learning_rate=1e-5", "training.max_rows=null", "lora.targets=[q_proj]"]
    )
    model = resolve(tmp_path).resolved["models"]["similarity_llm"]
    assert "1e-05" in (tmp_path / "params.yaml").read_text()
    assert model["lora"]["targets"] == ["q_proj"]
    training = yaml_data(tmp_path)["training"]
    assert (training["learning_rate"], training["max_rows"]) == (1e-5, None)


def yaml_data(folder) -> dict:
    return read(folder, "params.yaml").data
