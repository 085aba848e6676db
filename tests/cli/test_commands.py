"""What all commands share: a page of the docs, examples, JSON, names for the shell, versions."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import retune
from retune.cli import PANELS, commands, completion, printing, version
from retune.exports import publish as publishing
from retune.pipeline import remote as remotes
from retune.verify import rebuild
from tests.support import ROOT, asked_project
from tests.support.asked_project import COMPANIES, DOCUMENTS
from tests.support.command_line import run
from tests.support.declarations import replace, write
from tests.support.inference_project import PAIRS, TEXTS

PAGE = ROOT / "docs/command-line.md"
ROW = re.compile(r"^\| `retune ([\w-]+)` \| (.*) \|$", re.MULTILINE)
WITHOUT_JSON = {"chat", "repro", "schema", "serve", "web"}
"""Commands that run until they are stopped, leave their output to DVC, or write JSON in any case."""


def known() -> dict[str, Any]:
    found: Any = typer.main.get_command(commands)
    return {name: command for name, command in found.commands.items() if not command.hidden}


def sentence(command: Any) -> str:
    """The first paragraph of a command's help."""
    return " ".join(command.help.split("\n\n")[0].split())


def test_the_page_of_the_command_line_has_each_command_under_its_heading_in_the_words_of_its_help() -> None:
    wanted = "".join(
        f"\n## {panel}\n\n| command | |\n|---|---|\n"
        + "".join(f"| `retune {name}` | {sentence(known()[name])} |\n" for name in names(functions))
        for panel, functions in PANELS.items()
    )
    text = PAGE.read_text(encoding="utf-8")
    assert wanted in text, f"docs/command-line.md must hold this:\n{wanted}"
    assert [name for name, _ in ROW.findall(text)] == list(known())


def names(functions: Any) -> list[str]:
    return [function.__name__.replace("_", "-") for function in functions]


def test_each_command_stands_under_a_heading_of_the_help(tmp_path: Path) -> None:
    out, _ = run(tmp_path, "--help")
    headings = [out.index(f" {panel} ") for panel in PANELS]
    assert headings == sorted(headings)
    for name in known():
        assert re.search(rf"│ {name} ", out), name


@pytest.mark.parametrize("name", known())
def test_each_commands_help_has_an_example_of_it(name: str) -> None:
    assert f"Example: `retune {name}" in known()[name].help, f"add `Example: ...` to the docstring of `{name}`"


def test_each_command_that_prints_something_can_print_json() -> None:
    without = {name for name, one in known().items() if "--json" not in {o for p in one.params for o in p.opts}}
    assert without <= WITHOUT_JSON


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_project.project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("declared"))


@pytest.mark.slow
def test_declarations_are_one_document(declared: Path) -> None:
    keys = json.loads(run(declared, "keys", "lora.r", "--json")[0])
    assert {"path", "values", "default", "meaning", "here"} <= set(keys[0])
    checked = json.loads(run(declared, "check", "--json")[0])
    assert checked == {"valid": True, "warnings": [], "tasks": 1, "models": 4, "bases": 3, "up_to_date": False}
    assert run(declared, "show", "chatty", "--json") == run(declared, "show", "chatty")
    json.loads(run(declared, "show", "chatty")[0])


@pytest.mark.slow
def test_warnings_of_a_check_are_in_its_document(tmp_path: Path) -> None:
    folder = write(tmp_path)
    replace(folder, "params.yaml", "source: sample", "source: hub")
    (warning, *_) = json.loads(run(folder, "check", "--json")[0])["warnings"]
    assert "data/catalog.yaml" in warning


@pytest.mark.slow
def test_answers_are_documents_and_rows_are_lines(root: Path, tmp_path: Path) -> None:
    model = retune.load(root / "models/search")
    (root / "docs.txt").write_text(f"{DOCUMENTS[1]}\n\n{DOCUMENTS[2]}\n", encoding="utf-8")
    ranked = json.loads(run(root, "rank", "search", "怎么补卡", DOCUMENTS[0], "--file", "docs.txt", "--json")[0])
    assert ranked == model.rerank("怎么补卡", DOCUMENTS)
    assert run(root, "rank", "search", "怎么补卡", *DOCUMENTS)[0] == printing.document(ranked) + "\n"
    for arguments, keys in (
        (("align", "same", *PAIRS[0]), {"label", "answer", "probability", "reasoning"}),
        (("score", "risk", COMPANIES[0]), {"growth", "debt"}),
        (("ask", "intent", TEXTS[0]), {"label", "answer", "probability", "probabilities", "truncated"}),
    ):
        assert set(json.loads(run(root, *arguments, "--json")[0])) == keys
    file, out = tmp_path / "new.csv", tmp_path / "out.csv"
    file.write_text("text\n" + "\n".join(TEXTS), encoding="utf-8")
    lines, said = run(root, "predict", "intent", str(file), "--column", "text=text", "--json")
    assert [json.loads(line)["label"] for line in lines.splitlines()] == ["办理取消", "办理开通", "查询"]
    assert "3 records" in said
    told, _ = run(root, "predict", "intent", str(file), "--column", "text=text", "--json", "--out", str(out))
    assert json.loads(told) == {"out": str(out), "records": 3, "without_prediction": 0, "truncated": 0}
    assert out.read_text(encoding="utf-8").startswith("line,label,")


@pytest.mark.slow
def test_a_command_for_another_kind_names_the_right_one(root: Path) -> None:
    for arguments, said in (
        (
            ("rank", "intent", "a", "b"),
            "`retune rank` is for kind ranking, and intent is of kind classification: `retune ask",
        ),
        (
            ("align", "risk", "a", "b"),
            "`retune align` is for kind pair, and risk is of kind scoring: `retune score risk`",
        ),
        (("score", "search", "a"), "`retune score` is for kind scoring, and search is of kind ranking: `retune rank"),
        (("rank", "search", "a"), "give DOCUMENTS, or --file FILE"),
    ):
        assert said in " ".join(run(root, *arguments, fails=True)[1].split())


@pytest.mark.parametrize(
    ("place", "function", "arguments"),
    [
        (remotes, "pull", ("pull",)),
        (remotes, "push", ("push",)),
        (publishing, "publish", ("publish", "x", "--to", "hf:a/b")),
    ],
)
def test_what_was_moved_is_a_document_and_the_messages_go_elsewhere(
    place: Any, function: str, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(*given: Any) -> dict[str, Any]:
        given[-1]("3 files")
        return {"files": 3}

    monkeypatch.setattr(place, function, moved)
    out, errors = run(tmp_path, *arguments, "--json")
    assert (json.loads(out), errors) == ({"files": 3}, "3 files\n")
    assert run(tmp_path, *arguments) == ("3 files\n", "")


@pytest.mark.parametrize("same", [True, False])
def test_a_verification_is_a_document_and_ends_by_what_it_found(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = rebuild.Output("train@a", "models/a", 1, [] if same else ["weights: 3 bytes"])
    monkeypatch.setattr(rebuild, "verify", lambda *_: rebuild.Verified([output]))
    said = json.loads(run(tmp_path, "verify", "--json", fails=not same)[0])
    assert said["same"] is same
    assert said["outputs"][0]["path"] == "models/a"


def test_json_has_no_number_that_is_none_and_nothing_that_a_terminal_obeys() -> None:
    text = printing.line({"a": float("nan"), "b": [float("inf"), 1.5], "c": "\x1b\x9b\u202e文\n\ud800", "d": Path("x")})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": "\x1b\x9b\u202e文\n\ud800", "d": "x"}
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800]", text)
    assert "文" in text
    assert printing.visible("a\tb\nc\x1b[0m\r\x7f\ud800") == "a\tb\nc\\x1b[0m\\r\\x7f\\ud800"


def test_json_is_asked_for_before_two_dashes_only() -> None:
    assert printing.asked(["ask", "m", "--json"])
    assert not printing.asked(["ask", "m", "--", "--json"])


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names that a shell gets for words."""

    def complete(folder: Path, *words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", " ".join(["retune", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setenv("_RETUNE_COMPLETE", "complete_bash")
        return run(folder, *words)[0].split()

    return complete


@pytest.mark.slow
def test_a_shell_completes_commands_models_tasks_and_exports(root: Path, typed: Any, tmp_path: Path) -> None:
    assert typed(root, "ver") == ["verify"]
    assert typed(root, "chat", "s") == ["same", "search"]
    assert typed(root, "chat", "ex") == ["exports/intent_onnx"]
    assert typed(root, "repro", "") == ["pair", "classification", "ranking"]
    assert typed(root, "pull", "s") == ["same", "search"]
    assert typed(root, "publish", "") == ["intent_onnx"]
    assert typed(tmp_path, "chat", "x") == []
    (tmp_path / "params-resolved.json").write_text("{")
    with contextlib.chdir(tmp_path):
        assert completion.models("") == []


def test_the_version_names_what_is_installed_and_the_projects_commit(tmp_path: Path) -> None:
    out, _ = run(tmp_path, "--version")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["retune"] == retune.__version__
    assert set(lines) == {"retune", "python", "torch", "transformers", "dvc"}
    assert re.search(r"^project [0-9a-f]{40}", version.text(ROOT), re.MULTILINE)


@pytest.mark.parametrize("command", [["ask"], ["chat"], ["web"], ["serve"], ["serve", "--engine", "vllm"]])
def test_a_name_where_there_is_no_project_is_told(command: list[str], tmp_path: Path) -> None:
    _, said = run(tmp_path, *command, "intent", fails=True)
    assert said.startswith("retune: there is no params.yaml here, so `intent` is no model")
    assert not list(tmp_path.iterdir())
