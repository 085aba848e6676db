"""A profile is a list of `-S` overrides; each composes onto params.yaml as `xargs dvc exp run` does, and resolves."""

import re
import shlex
import shutil

import pytest
from dvc.utils.hydra import apply_overrides

from retune.pipeline.declarations import DATA, MODELS, load
from retune.pipeline.resolve import resolve
from retune.pipeline.yaml_file import read
from retune.sources.path import expand
from tests.support.declarations import ROOT

PROFILES = sorted(path for path in (ROOT / "profiles").iterdir() if path.is_file() and path.name[0] != ".")


def overrides(text: str) -> list[str]:
    """The values of `-S` or `--set-param` in a profile, as a shell would split it."""
    words = shlex.split(text)
    assert len(words) % 2 == 0
    assert set(words[::2]) <= {"-S", "--set-param"}
    return [word.removeprefix("params.yaml:") for word in words[1::2]]


def lay_out(folder) -> None:
    """The declarations and the code of this checkout; data that stays outside the repository is stood in for."""
    for name in ("retune", "stages", "prompts"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("params.yaml", DATA, MODELS, "requirements.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


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


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_a_profile_composes_and_resolves(profile, tmp_path, monkeypatch):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    stand_in(tmp_path, monkeypatch)
    before = resolve(tmp_path).resolved
    apply_overrides(tmp_path / "params.yaml", overrides(profile.read_text(encoding="utf-8")))
    assert resolve(tmp_path).resolved != before


VARIANTS = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "dvc exp run -S" in line]


@pytest.mark.parametrize("command", VARIANTS)
def test_a_variant_of_the_readme_composes_and_resolves(command, tmp_path):
    lay_out(tmp_path)
    before = resolve(tmp_path).resolved
    words = shlex.split(command.strip("`"), comments=True)[3:]
    apply_overrides(tmp_path / "params.yaml", overrides(shlex.join(words)))
    assert resolve(tmp_path).resolved != before


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
