"""How commands end: exit codes, errors as JSON, a reader that goes away, Ctrl-C."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from retune import cli
from retune.cli import running
from retune.errors import RetuneError
from tests.support import ROOT
from tests.support.command_line import run
from tests.support.declarations import write

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMAND = (sys.executable, "-P", "-m", "retune.cli")


def ended(folder: Path, *arguments: str) -> tuple[Any, str, str]:
    """Exit code, standard output, standard error of a command."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch("sys.argv", ["retune", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        pytest.raises(SystemExit) as end,
    ):
        cli.app()
    return end.value.code, out.getvalue(), errors.getvalue()


def test_the_exit_codes_are_those_of_the_docs() -> None:
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    for code in (running.FINE, running.MENDABLE, running.USAGE, running.INTERRUPTED):
        assert f"\n| {code} | " in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("keys", "lora.r", "--json"), 0, None),
        (("keys", "nothing.at.all", "--json"), 1, "no key contains `nothing.at.all`"),
        (("show", "--json"), 2, "Missing argument 'name'"),
        (("shoe", "--json"), 2, "No such command 'shoe'"),
        (("keys", "--jason", "--json"), 2, "No such option: --jason"),
        (("gate", "--json"), 2, "params-resolved.json is out of date"),
    ],
)
def test_an_error_is_a_line_of_json_with_the_exit_code_and_a_message_beside_it(
    arguments: tuple[str, ...], code: int, said: str | None, tmp_path: Path
) -> None:
    got, out, errors = ended(write(tmp_path), *arguments)
    assert got == code
    found = json.loads(out)
    assert "Traceback" not in errors
    if said is None:
        assert errors == ""
        return
    assert found["exit_code"] == code
    assert said in found["error"]
    assert said.split("'")[0] in errors


def test_without_json_an_error_is_one_message_and_standard_output_is_empty(tmp_path: Path) -> None:
    got, out, errors = ended(tmp_path, "keys", "nothing.at.all")
    assert (got, out, errors) == (1, "", "retune: no key contains `nothing.at.all`; `retune keys` lists all\n")


def test_no_command_shows_the_help_as_wrong_usage(tmp_path: Path) -> None:
    got, out, errors = ended(tmp_path)
    assert got == 2
    assert "Usage" in out + errors


def test_a_reader_that_goes_away_gets_no_traceback(tmp_path: Path) -> None:
    command = subprocess.Popen(
        (*COMMAND, "keys", "--json"), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout
    assert command.stderr
    command.stdout.close()
    assert command.stderr.read() == b""
    command.stderr.close()
    assert command.wait() == 1


def test_a_reader_that_goes_away_before_the_last_words_gets_no_traceback(tmp_path: Path) -> None:
    code = (
        "import sys, typer; from retune.cli import running; t = typer.Typer()\n"
        "@t.command()\n"
        "def say():\n    sys.stdin.read(); print('kept until the end')\n"
        "running.run(t)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    buffered = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}
    command = subprocess.Popen((sys.executable, "-P", "-c", code), env=buffered, cwd=tmp_path, **pipes)
    assert command.stdout
    command.stdout.close()
    _, errors = command.communicate()
    assert (command.returncode, errors) == (1, b"")


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    code = (
        "import time, typer; from retune.cli import running; t = typer.Typer()\n"
        "@t.command()\n"
        "def wait():\n    print('ready', flush=True); time.sleep(60)\n"
        "running.run(t)"
    )
    command = subprocess.Popen(
        (sys.executable, "-P", "-c", code),
        env=ENVIRONMENT,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout
    assert command.stderr
    assert command.stdout.readline() == b"ready\n"
    command.send_signal(signal.SIGINT)
    assert (command.wait(), command.stderr.read()) == (130, b"")
    command.stdout.close()
    command.stderr.close()


def fails_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("retune.pipeline.keys.all_keys", fail)


def test_what_a_message_quotes_is_not_executed_by_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, RetuneError("no field `\x1b[2J`"))
    assert run(tmp_path, "keys", fails=True)[1] == "retune: no field `\\x1b[2J`\n"


def test_a_file_that_cannot_be_had_is_a_sentence_and_a_fault_of_retune_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_with(monkeypatch, PermissionError(13, "Permission denied", "/root/x"))
    assert "nothing can be written or read there" in run(tmp_path, "keys", fails=True)[1]
    fails_with(monkeypatch, OSError(28, "No space left on device"))
    assert "the disk is full" in run(tmp_path, "keys", fails=True)[1]
    for fault in (OSError("odd"), KeyError("a")):
        fails_with(monkeypatch, fault)
        with pytest.raises(type(fault)):
            run(tmp_path, "keys")


def test_a_light_command_does_not_import_torch(tmp_path: Path) -> None:
    code = """
import sys
from retune.cli import app
for words in (["--help"], ["check"], ["--version"], ["keys", "lora.r"], ["chat", "--help"]):
    sys.argv[1:] = words
    try:
        app()
    except SystemExit as end:
        print("torch", "torch" in sys.modules, end.code)
"""
    done = subprocess.run(
        (sys.executable, "-P", "-c", code), cwd=write(tmp_path), env=ENVIRONMENT, capture_output=True, encoding="utf-8"
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("torch ")]
    assert [line for line in said if line.endswith(" 0")] == ["torch False 0"] * 5, done.stderr
