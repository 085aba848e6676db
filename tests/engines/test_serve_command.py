"""`retune serve --engine ...`: what it starts, prints and refuses, as somebody who types it sees it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from retune import inference
from retune.cli import commands, engines
from retune.errors import RetuneError
from retune.exports.protocol import Built
from retune.serve.options import Options
from tests.support import ROOT, exported_llm, served, warm_python
from tests.support.vllm_server import VllmServer, parser, program

pytestmark = pytest.mark.slow

DEADLINE = 300.0
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapters(tiny: Built, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two exports over one base; the second one decides at another temperature."""
    place = tmp_path_factory.mktemp("exports")
    other = dataclasses.replace(tiny, name="other", fitted={"temperature": 0.6, "threshold": 0.5})
    return [exported_llm.export(tiny, "adapter", place / "a"), exported_llm.export(other, "decision", place / "b")]


def warm() -> list[str]:
    """`retune` in a process of its own, that forks from one which has torch imported."""
    return [f"{warm_python.folder()}/python", "-m", "retune.cli"]


def said(*words: str, environment: dict[str, str] | None = None) -> str:
    """What a command prints that ends at once."""
    result = CliRunner().invoke(commands, ["serve", *words], env=environment)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str, environment: dict[str, str] | None = None) -> str:
    """The sentence of a command that can't be done."""
    result = CliRunner().invoke(commands, ["serve", *words], env=environment)
    assert isinstance(result.exception, RetuneError), result.output
    return str(result.exception)


def test_two_adapters_behind_our_routes_a_token_that_nobody_can_read_and_an_end(
    adapters: list[Path], tmp_path: Path
) -> None:
    path = f"{program(tmp_path / 'bin').parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "RETUNE_SERVE_TOKENS": TOKEN}
    words = [*warm(), "serve", "--engine", "vllm", *map(str, adapters), "--port", "0"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        given, engine, front = [], "", ""
        for line in process.stderr:
            if line.startswith("vllm was given"):
                given = json.loads(line.removeprefix("vllm was given"))
            if line.startswith("vllm: "):
                engine = line.split()[1].rstrip(",")
            if line.startswith("http://"):
                front = line.split()[0]
                break
        assert TOKEN not in " ".join(given)
        assert parser().parse_args(given[1:]).lora_modules == [f"small={adapters[0]}", f"other={adapters[1]}/adapter"]
        assert httpx.get(f"{engine}/v1/models", timeout=DEADLINE).status_code == 401
        (pair,) = exported_llm.ROWS.select("text_a", "text_b").head(1).iter_rows()
        with httpx.Client(base_url=front, headers={"authorization": f"Bearer {TOKEN}"}, timeout=DEADLINE) as client:
            for folder in adapters:
                own = inference.load(folder)
                asked = {"pairs": [list(pair)], "probabilities": True, "model": own.name}
                (found,) = client.post("/similar", json=asked).json()["results"]
                (expected,) = own.predict([dict(zip(own.texts, pair, strict=True))])
                assert found["label"] == expected["label"]
                assert found["probabilities"]["1"] == pytest.approx(expected["prob_1"], abs=1e-5)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
        assert "vllm ends" in rest
    finally:
        process.terminate()
        process.communicate()


def test_an_engine_that_dies_ends_the_routes_in_front_of_it(adapters: list[Path], tmp_path: Path) -> None:
    path = f"{program(tmp_path / 'bin').parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    words = [*warm(), "serve", "--engine", "vllm", str(adapters[0]), "--port", "0"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        engine = 0
        for line in process.stderr:
            if line.startswith("vllm is process"):
                engine = int(line.split()[-1])
            if line.startswith("http://"):
                break
        os.kill(engine, signal.SIGKILL)
        _, rest = process.communicate(timeout=DEADLINE)
        assert process.returncode == 1
        assert rest.rstrip().endswith("retune: vllm ended with code -9: its own lines above say why")
    finally:
        process.kill()
        process.communicate()


def test_an_engine_that_ends_at_once_is_told(
    adapters: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = program(tmp_path / "bin")
    file.write_text("#!/bin/sh\necho out of memory >&2\nexit 3\n")
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    front = engines.Front("127.0.0.1", 0, Options(), [], False)
    with pytest.raises(RetuneError, match=r"^the engine ended before it answered: its own lines above say why$"):
        engines.start(
            "vllm", [str(adapters[0])], front, url=None, engine_port=None, more="", alone=False, dry_run=False
        )
    assert "out of memory" in capfd.readouterr().err


def test_a_dry_run_prints_the_command_line_and_no_token(adapters: list[Path]) -> None:
    for more in ([], ["--alone"]):
        line = said(
            "--engine", "vllm", *map(str, adapters), "--dry-run", *more, "--engine-args", "--seed 1",
            environment={"RETUNE_SERVE_TOKENS": TOKEN},
        )  # fmt: skip
        words = shlex.split(line)
        assert words[0] == "VLLM_NO_USAGE_STATS=1"
        assert words[-2:] == ["--seed", "1"]
        assert TOKEN not in line
        assert parser().parse_args(words[words.index("serve") + 1 : -2]).port == 8000
    line = said("--engine", "transformers", str(adapters[1]), "--dry-run", "--engine-port", "8010")
    expected = f"HF_HUB_OFFLINE=1 transformers serve {adapters[1]} --host 127.0.0.1 --port 8010 --dtype float32\n"
    assert line == expected


def test_what_can_not_be_served_is_one_sentence(
    adapters: list[Path], tiny: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, decision = map(str, adapters)
    monkeypatch.setenv("PATH", str(tmp_path))
    vllm = ["--engine", "vllm", adapter]
    assert refused(*vllm).startswith("vLLM is not installed: `pip install vllm`")
    assert "an engine takes an export" in refused("--engine", "vllm", str(tiny.folder))
    assert "dvc repro export@" in refused("--engine", "vllm", str(tiny.folder))
    assert "is of learner linear, and engines serve LLMs" in refused("--engine", "vllm", str(served.folder("scores")))
    assert "there is no export in nowhere/at/all" in refused("--engine", "vllm", "nowhere/at/all")
    assert "need --engine" in refused(decision, "--dry-run")
    assert "can't be split into words" in refused(*vllm, "--dry-run", "--engine-args", "'a")
    assert "--alone starts the engine itself" in refused(*vllm, "--alone", "--engine-url", "http://127.0.0.1:1")
    tokens = {"RETUNE_SERVE_TOKENS": TOKEN}
    assert "routes that ask for no token" in refused(*vllm, "--alone", "--host", "0.0.0.0", environment=tokens)
    assert "reads no token" in refused("--engine", "transformers", decision, "--alone", environment=tokens)
    assert "one token" in refused(*vllm, "--alone", environment={"RETUNE_SERVE_TOKENS": f"{TOKEN} {TOKEN}"})


def test_an_engine_that_runs_already_must_serve_the_model(adapters: list[Path]) -> None:
    server = VllmServer({"someone": None}, key=TOKEN)
    url = ["--engine", "vllm", str(adapters[0]), "--engine-url", server.url]
    expected = f"{server.url} does not serve small, but someone"
    assert refused(*url, environment={"RETUNE_ENGINE_TOKEN": TOKEN}) == expected
    assert "refuses the token" in refused(*url)
    server.close()
