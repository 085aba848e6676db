"""`retune chat` and `retune ask`: every kind of model, the `/` commands, and texts that nobody should trust."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

import retune
from retune.cli import chatting, questions
from retune.cli.session import COMMANDS, Session
from tests.support import asked_project, exported
from tests.support.asked_project import COMPANIES, DOCUMENTS
from tests.support.command_line import run
from tests.support.inference_project import PAIRS, TEXTS, THRESHOLD

pytestmark = pytest.mark.slow

HOSTILE = "补卡\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_project.project(tmp_path_factory.mktemp("project"))


def chat(root: Path, model: str, *lines: str) -> list[str]:
    """What is printed behind the greeting."""
    out, errors = run(root, "chat", model, text="".join(f"{line}\n" for line in lines))
    assert errors == ""
    return out.splitlines()[1:]


def test_each_kind_is_asked_for_its_own_texts_and_answers_as_python_does(root: Path) -> None:
    load = {name: retune.load(root / "models" / name) for name in ("intent", "same", "risk", "search")}
    (said,) = chat(root, "intent", TEXTS[2])
    (found,) = load["intent"].classify([TEXTS[2]])
    assert said.startswith(f"{found['label']}  ({found['label']} {found['probability']:.3f}, ")
    (said,) = chat(root, "same", *PAIRS[1])
    (found,) = load["same"].similar([PAIRS[1]])
    assert f"{found['label']} {found['probability']:.3f}" in said
    said, second = chat(root, "risk", COMPANIES[0])
    scores = load["risk"].score(COMPANIES[0])
    assert said.split() == [
        "growth",
        str(scores["growth"]["score"]),
        "(expected",
        f"{scores['growth']['expected']:.2f})",
    ]
    assert second.split()[0] == "debt"
    ranked = load["search"].rerank("怎么补卡", DOCUMENTS)
    lines = chat(root, "search", "怎么补卡", *DOCUMENTS, "")
    assert [line.split()[2] for line in lines] == [one["document"] for one in ranked]
    assert lines[0].split()[:2] == ["1.", f"{ranked[0]['relevance']:.3f}"]


def test_the_end_of_the_input_ends_documents_and_session(root: Path) -> None:
    assert len(chat(root, "search", "怎么补卡", *DOCUMENTS)) == 3
    assert chat(root, "search", "怎么补卡") == []
    assert chat(root, "intent") == []


def test_a_question_is_numbered_shown_and_asked_again(root: Path) -> None:
    lines = chat(root, "intent", TEXTS[0], TEXTS[1], "/history", "/again 1", "/last", "/history", "/again 9")
    first, second = lines[:2]
    assert [line.split()[:2] for line in lines[2:4]] == [["1", TEXTS[0]], ["2", TEXTS[1]]]
    assert lines[4:8] == [TEXTS[0], first, TEXTS[0], first]
    assert lines[11].split()[:2] == ["4", TEXTS[0]]
    assert lines[12] == "/again 9: give a whole number, 1 to 4"
    assert first != second
    assert chat(root, "intent", "/again", TEXTS[0], "/clear", "/history")[2:] == [
        "the history is empty",
        "nothing was asked yet",
    ]


def test_another_threshold_decides_otherwise_and_is_called_the_sessions(root: Path) -> None:
    lines = chat(root, "same", *PAIRS[0], "/threshold 1", "/again", "/threshold model", "/again", "/threshold 1.5")
    assert lines[0].startswith("1  (1 ")
    assert lines[1] == f"1 of this session, not the model's {THRESHOLD:g}"
    assert lines[3].startswith("0  (1 ")
    assert "decided at 1.000" in lines[3]
    assert lines[4] == f"  threshold 1 of this session, not the model's {THRESHOLD:g}"
    assert lines[5:] == [
        f"{THRESHOLD:g}, the model's",
        " | ".join(PAIRS[0]),
        lines[0],
        "/threshold 1.5: give a number from 0 to 1, or `model`",
    ]
    assert "intent has no threshold" in chat(root, "intent", "/threshold 0.4")[0]


def test_as_many_labels_or_documents_are_shown_as_wanted(root: Path) -> None:
    lines = chat(root, "intent", TEXTS[0], "/top 1", "/top none")
    assert lines[0].count(", ") == 2
    assert lines[2].count(", ") == 0
    assert lines[3] == "/top none: give a whole number, 1 or more"
    assert chat(root, "search", "/top 1", "怎么补卡", *DOCUMENTS, "")[2:] == ["      and 2 more"]


def test_scores_are_asked_in_chosen_dimensions(root: Path) -> None:
    lines = chat(root, "risk", "/dimensions debt", COMPANIES[1], "/dimensions dept", "/dimensions", "/again")
    assert lines[0] == "scored in: debt"
    assert lines[1].startswith("debt ")
    assert "did you mean `debt`" in lines[2]
    assert [line.split()[0] for line in lines[5:]] == ["growth", "debt"]
    assert "of kind pair" in chat(root, "same", "/dimensions a")[0]


def test_a_text_or_documents_come_from_a_file(root: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("\n\n".join(DOCUMENTS), encoding="utf-8")
    (tmp_path / "company.txt").write_text(COMPANIES[0], encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    lines = chat(root, "search", "怎么补卡", f"/file {tmp_path}/docs.txt", "")
    assert lines[0] == f"{tmp_path}/docs.txt: 3 documents; an empty line ranks them"
    assert lines[1:] == chat(root, "search", "怎么补卡", *DOCUMENTS, "")
    assert chat(root, "risk", f"/file {tmp_path}/company.txt")[1:] == chat(root, "risk", COMPANIES[0])
    said = chat(root, "risk", "/file", "/file none.txt", f"/file {tmp_path}/latin.txt")
    assert said[0] == "/file PATH: give the file that holds the text"
    assert said[1] == "none.txt can't be read: No such file or directory"
    assert said[2] == f"{tmp_path}/latin.txt is not UTF-8 (byte 3): save it so"
    (said_of_table,) = chat(root, "search", "怎么补卡", "/file docs.csv", "")
    assert "docs.csv is a table" in said_of_table


def test_a_session_is_saved_whole_and_never_over_another_file(root: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "session.jsonl", tmp_path / "other.txt"
    other.write_text("mine")
    lines = chat(
        root, "same", *PAIRS[0], "/threshold 0.9", *PAIRS[1], f"/save {file}", f"/save {file}", f"/save {other}",
        f"/save {tmp_path}/no/x", "/save",
    )  # fmt: skip
    assert lines[-5:-3] == [f"{file}: 2 questions"] * 2
    assert lines[-3] == f"{other} is there already and is kept: give another name"
    assert lines[-2] == f"{tmp_path}/no is no folder: make it, or give another one"
    assert other.read_text() == "mine"
    first, second = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    assert first["question"] == {"text_a": PAIRS[0][0], "text_b": PAIRS[0][1]}
    assert (first["model"], first["answer"]["label"]) == ("same", "1")
    assert set(first["answer"]["probabilities"]) == {"0", "1"}
    assert first["threshold"] == {"value": THRESHOLD, "of": "model"}
    assert second["threshold"] == {"value": 0.9, "of": "session"}
    search = tmp_path / "search.jsonl"
    chat(root, "search", "怎么补卡", *DOCUMENTS, "", f"/save {search}")
    record = json.loads(search.read_text(encoding="utf-8"))
    assert record["question"] == {"query": "怎么补卡", "documents": DOCUMENTS}
    assert "threshold" not in record


def test_the_model_and_the_commands_are_described(root: Path) -> None:
    said = "\n".join(chat(root, "same", "/model"))
    assert "kind        pair, learner linear, task pair" in said
    assert "labels      0, 1" in said
    assert f"threshold   {THRESHOLD:g}, the model's" in said
    said = "\n".join(chat(root, "intent", "/help"))
    assert [name for name in COMMANDS if f"/{name}" not in said] == []
    assert "did you mean `history`" in chat(root, "intent", "/histori")[0]
    assert chat(root, "intent", "/quit", TEXTS[0]) == []


def test_a_line_goes_on_behind_a_backslash_and_two_slashes_are_one(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    chat(root, "intent", "帮我\\", "取消套餐", "//help", f"/save {file}")
    asked = [json.loads(line)["question"]["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert asked == ["帮我\n取消套餐", "/help"]


def test_control_sequences_of_texts_files_and_models_are_shown_and_not_executed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text(HOSTILE, encoding="utf-8")
    lines = chat(
        root, "search", "怎么补卡", HOSTILE, f"/file {tmp_path}/docs.txt", "", HOSTILE, "文", "", "/history", "/\x1b[2J"
    )
    answer = {"label": HOSTILE, "answer": HOSTILE, "probability": 1.0, "probabilities": {HOSTILE: 1.0}}
    answer |= {"truncated": False, "generated_label": "other\x1b[1m", "reasoning": f"one\n{HOSTILE}"}
    session = Session(retune.load(root / "models/intent"))
    said = [*lines, questions.words(session.model, answer)]
    for text in said:
        assert not set(text) & set("\x1b\x07\x9b\u202e"), text
    assert "\\x1b]0;owned\\x07\\x1b[2J\\u202e\\x9b31m" in lines[1]
    assert "thinking:\n    one\n    补卡\\x1b" in said[-1]
    assert "thinking" not in questions.words(session.model, answer, thinking=False)
    out, _ = run(root, "ask", "search", "怎么补卡", HOSTILE, "--json")
    assert not set(out) & set("\x1b\x07\x9b\u202e")
    assert json.loads(out)[0]["document"] == HOSTILE, "as JSON it comes back whole"


def test_ctrl_c_cancels_what_is_typed_and_an_answer_and_the_session_goes_on(root: Path, capsys) -> None:
    model = retune.load(root / "models/same")
    typed = iter([PAIRS[0][0], KeyboardInterrupt, *PAIRS[1], "/quit"])

    def line(_: str) -> str:
        if (found := next(typed)) is KeyboardInterrupt:
            raise KeyboardInterrupt
        return str(found)

    with mock.patch("builtins.input", line), mock.patch("sys.stdin.isatty", return_value=True, create=True):
        chatting.chat(model)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "cancelled; Ctrl-D ends"
    assert lines[3][0] in "01"
    assert PAIRS[0][0] not in "".join(lines)


def test_a_tab_completes_commands_and_files(root: Path, tmp_path: Path) -> None:
    readline = pytest.importorskip("readline")
    before = readline.get_completer(), readline.get_completer_delims()
    (tmp_path / "docs.txt").touch()
    try:
        chatting._complete(readline)
        complete = readline.get_completer()
        for typed, word, found in (
            ("/thr", "/thr", "/threshold "),
            ("/fi", "/fi", "/file "),
            (f"/file {tmp_path}/do", f"{tmp_path}/do", f"{tmp_path}/docs.txt"),
            ("text", "text", None),
            ("a /thr", "/thr", None),
        ):
            with mock.patch.object(readline, "get_line_buffer", lambda typed=typed: typed):
                assert complete(word, 0) == found, typed
    finally:
        readline.set_completer(before[0])
        readline.set_completer_delims(before[1])


def test_ask_answers_arguments_at_once_and_lines_without_them(root: Path) -> None:
    (typed, _), (given, _) = run(root, "ask", "same", text="\n".join(PAIRS[0])), run(root, "ask", "same", *PAIRS[0])
    assert typed == given != ""
    out, _ = run(root, "ask", "intent", *TEXTS, "--top", "1")
    assert [line.split()[0] for line in out.splitlines()] == ["办理取消", "办理开通", "查询"]
    assert out.count(", ") == 0
    typed, _ = run(root, "ask", "search", text="怎么补卡\n" + "\n".join(DOCUMENTS) + "\n\n补卡\n文\n")
    given, _ = run(root, "ask", "search", "怎么补卡", *DOCUMENTS)
    assert typed.startswith(given)
    assert len(typed.splitlines()) == 4
    out, _ = run(root, "ask", "risk", *COMPANIES, "--dimensions", "debt", "--json")
    assert [list(json.loads(line)) for line in out.splitlines()] == [["debt"], ["debt"]]
    for model, texts, said in (
        ("same", ["a"], "give text_a and text_b"),
        ("same", ["a", "b", "c"], "give text_a and text_b"),
        ("search", ["a"], "give a query and documents"),
    ):
        assert said in run(root, "ask", model, *texts, fails=True)[1]


def test_lines_behind_an_empty_one_are_not_lost_silently(root: Path) -> None:
    out, said = run(root, "ask", "intent", text=f"{TEXTS[0]}\n\n{TEXTS[1]}\n", fails=True)
    assert out.count("\n") == 1
    assert "an empty line ends the questions, and 1 lines behind it were not asked" in said
    run(root, "ask", "intent", text=f"{TEXTS[0]}\n\n\n")


def test_an_export_is_asked_without_a_project(tmp_path: Path) -> None:
    spec, rows, fitted, pooler = exported.kinds()["linear text"]
    (tmp_path / "exports").mkdir()
    (tmp_path / "made").mkdir()
    exported.export(exported.model(tmp_path / "made", spec, rows, fitted, pooler), tmp_path / "exports/small")
    (found,) = retune.load(tmp_path / "exports/small").classify([rows["text"][0]])
    out, _ = run(tmp_path, "ask", "exports/small", rows["text"][0], "--json")
    assert json.loads(out)["label"] == found["label"]
    lines = chat(tmp_path, "exports/small", rows["text"][0], "/model", f"/save {tmp_path}/said.jsonl")
    assert lines[0].startswith(found["label"])
    assert lines[-2] == "commit      unknown"
