"""`retune add-task` in a project: shown, and written where that is asked for, or nothing is."""

import json

import pytest
import yaml

from retune.data.convert import convert
from retune.params import loads
from retune.pipeline.declarations import DATA, PARAMS
from retune.pipeline.resolve import resolve
from retune.propose import block
from retune.sources.path import hashes
from tests.support.command_line import printed
from tests.support.declarations import replace, write

ROWS = [f"{i},怎么还款{i},如何还清账单{i % 40},{i % 2}\n" for i in range(120)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = write(tmp_path / "project")
    monkeypatch.chdir(folder)
    (folder / "data/external").mkdir(parents=True)
    (folder / "data/external/asked.csv").write_text("".join(["id,sentence1,sentence2,label\n", *ROWS]), "utf-8")
    replace(folder, PARAMS, "bases:", "bases:  # what is fetched")
    return folder


def texts(folder) -> tuple[str, str]:
    return tuple((folder / name).read_text(encoding="utf-8") for name in (PARAMS, DATA))


def test_it_shows_what_it_understood_and_writes_nothing(project):
    before = texts(project)
    said = printed(project, "add-task", "data/external/asked.csv")
    assert texts(project) == before
    assert "asked.csv: csv, 120 records looked at" in said
    assert "rows: 120 from 120 records; 0 rejected, 0 exact duplicates left out" in said
    assert "label: 0 60, 1 60" in said
    assert "zh 100%" in said
    assert said.count("\n    linear   ") == said.count("\n    encoder  ") == said.count("\n    llm      ") == 5
    assert "怎么还款" in said
    assert "->  no\n" in said  # the prompt of the project, and its answer
    assert "nothing was written" in said


def test_what_is_written_is_valid_keeps_all_else_and_builds_the_rows_that_were_shown(project, tmp_path):
    before = texts(project)
    said = printed(
        project, "add-task", "data/external/asked.csv", "--name", "asked", "--prompt", "questions", "--write"
    )
    assert "dvc repro evaluate@asked_linear" in said
    for old, new in zip(before, texts(project), strict=True):
        lines = iter(new.splitlines())
        assert all(line in lines for line in old.splitlines())  # in their order, comments too
    resolved = resolve(project).resolved
    assert resolved["tasks"]["asked"]["models"] == ["asked_linear", "asked_encoder"]
    assert resolved["tasks"]["asked"]["source"]["path"] == "data/external"
    (tmp_path / "out").mkdir()
    spec = loads(json.dumps(resolved["tasks"]["asked"]["convert"]))
    built = convert(spec, project / "data/external", tmp_path / "out", tmp_path / "scratch", tmp_path / "rejects")
    assert (built["rows"], built["targets"]) == (120, {"0": 60, "1": 60})


@pytest.mark.parametrize(("good", "bad"), [("pos", "neg"), ("positive", "negative")])
def test_lists_of_positives_and_negatives_are_proposed_as_a_ranking(good, bad, project, tmp_path):
    rows = [
        {
            "query": f"how do I renew card number {i}?",
            good: [f"Bring your passport to shop {i}."],
            bad: [f"It rains in {i}.", f"Call {i}."],
        }
        for i in range(60)
    ]
    file = project / "data/external/found.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{oops\n", "utf-8")
    (project / "data/external/asked.csv").unlink()
    said = printed(project, "add-task", "data/external/found.jsonl", "--write")
    assert "its lists of positives and negatives become a row for each" in said
    assert "--column" not in said
    (table,) = yaml.safe_load((project / DATA).read_text("utf-8"))["found"]["tables"]
    assert table["explode"] == {"field": {good: 1, bad: 0}}
    assert table["columns"] == {"query": "query", "document": "value", "relevance": "key"}
    spec = loads(json.dumps(resolve(project).resolved["tasks"]["found"]["convert"]))
    (tmp_path / "out").mkdir()
    built = convert(spec, project / "data/external", tmp_path / "out", tmp_path / "scratch", tmp_path / "rejects")
    assert (built["rows"], built["targets"]) == (180, {"0.0": 120, "1.0": 60})


def test_an_empty_catalog_and_files_with_line_ends_of_windows_are_written_as_they_are(project):
    replace(project, PARAMS, "source: sample", "source: only")
    text = (project / DATA).read_text(encoding="utf-8").partition("files:")[0].replace("sample:", "only:", 1)
    (project / DATA).write_bytes(text.replace("\n", "\r\n").encode())
    printed(project, "add-task", "data/external/asked.csv", "--write")
    raw = (project / DATA).read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") > 10
    assert block._put("# nothing yet\n", ("a",), {"b": "c"}, DATA) == "# nothing yet\na: {b: c}\n"


@pytest.mark.parametrize("place", ["asked.csv", "data/asked.csv", "../asked.csv"])
def test_a_file_beside_the_project_or_in_it_is_named_itself_and_found_by_the_build(project, place):
    (project / "data/external/asked.csv").rename(project / place)
    printed(project, "add-task", place, "--write")
    entry = yaml.safe_load((project / DATA).read_text("utf-8"))["asked"]
    assert (project / entry["path"]).samefile(project / place)
    assert [table["file"] for table in entry["tables"]] == ["asked.csv"]
    assert list(hashes(entry["path"], None, project)) == ["asked.csv"]
    assert "asked" in resolve(project).resolved["tasks"]


def test_files_beside_the_project_are_to_be_moved(project):
    for name in ("train.csv", "test.csv"):
        (project / name).write_bytes((project / "data/external/asked.csv").read_bytes())
    said = printed(project, "add-task", "train=train.csv", "test=test.csv", fails=True)
    assert "holds more than test.csv, train.csv: move them into a folder of their own in data/external" in said


def test_a_name_that_is_taken_is_refused_and_a_guessed_one_gets_a_number(project):
    printed(project, "add-task", "data/external/asked.csv", "--write")
    before = texts(project)
    said = printed(project, "add-task", "data/external/asked.csv", "--name", "asked", "--write", fails=True)
    assert "data/catalog.yaml has `asked` already: `--name` takes another name" in said
    assert texts(project) == before
    assert "\n  asked_2:\n" in printed(project, "add-task", "data/external/asked.csv")
    said = printed(project, "add-task", "data/external/asked.csv", "--write", fails=True)
    assert "data/catalog.yaml has this already, as `asked`: `--name NAME` adds it once more" in said
    assert texts(project) == before
    printed(project, "add-task", "data/external/asked.csv", "--name", "again", "--write")


def test_a_proposal_that_is_not_valid_is_not_written(project):
    (project / "data/external/asked.csv").write_text("".join(["sentence1,sentence2,label\n", *[
        f"甲{i},乙{i},{'a${x}' if i % 3 else 'b'}\n" for i in range(60)]]), "utf-8")  # fmt: skip
    before = texts(project)
    said = printed(project, "add-task", "data/external/asked.csv", "--kind", "classification", "--write", fails=True)
    assert "a problem, nothing was written" in said or "`${`" in said
    assert texts(project) == before


def test_a_project_with_mistakes_is_told_first(project):
    replace(project, PARAMS, "learner: linear", "learner: linaer")
    said = printed(project, "add-task", "data/external/asked.csv", fails=True)
    assert "the project's own declarations have problems" in said
    assert "linaer" in said


def test_where_the_second_file_can_not_be_written_the_first_is_put_back(project, monkeypatch):
    before = texts(project)
    kept = block.atomic_file.replacing

    def failing(path):
        if path.name == "params.yaml":
            raise OSError(28, "No space left on device")
        return kept(path)

    monkeypatch.setattr(block.atomic_file, "replacing", failing)
    said = printed(project, "add-task", "data/external/asked.csv", "--write", fails=True)
    assert "params.yaml can't be written, nothing was changed" in said
    assert texts(project) == before


def test_texts_of_the_file_can_not_write_to_the_terminal_but_as_text(project):
    rows = [f"{i},\x1b[31m甲{i},乙{i},\x1b]0;{'ab'[i % 2]}\n" for i in range(60)]
    (project / "data/external/asked.csv").write_text("".join(["id,sentence1,sen\x1b[2Jtence2,label\n", *rows]), "utf-8")
    assert "\x1b" not in printed(project, "add-task", "data/external/asked.csv", "--kind", "classification")


def test_too_many_rejects_are_forgiven_and_said(project):
    rows = [row.rpartition(",")[0] + ",\n" if n % 10 == 0 else row for n, row in enumerate(ROWS)]
    (project / "data/external/asked.csv").write_text("".join(["id,sentence1,sentence2,label\n", *rows]), "utf-8")
    said = printed(project, "add-task", "data/external/asked.csv", "--json")
    found = json.loads(said)
    assert (found["counts"]["rejected"], found["task"]["max_rejects"]) == (12, 0.13)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv"], "nowhere.csv does not exist"),
        (["data/external/asked.csv", "--kind", "pairs"], "there is no kind `pairs`; did you mean `pair`?"),
        (["data/external/asked.csv", "--column", "text_c=id"], "there is no column `text_c`; did you mean `text_"),
        (["data/external/asked.csv", "--column", "text_a"], "give it as COLUMN=FIELD"),
        (["data/external/asked.csv", "--label", "lable"], "there is no field `lable`; did you mean `label`?"),
        (["data/external/asked.csv", "--name", "a.b"], "letters, digits, _ and - only"),
        (["data/external/asked.csv", "--prompt", "question"], "did you mean `questions`?"),
        (["data/external/asked.csv", "--separator", ";;"], "--separator: "),
        (["data/external/asked.csv", "--format", "xls"], "there is no format `xls`"),
        (
            ["data/external/asked.csv", "--sheet", "one"],
            "--sheet is for xlsx, and data/external/asked.csv is",
        ),
        (["train=data/external/asked.csv", "test=data/external/../external/asked.csv"], "asked.csv is given twice"),
        (["data/asked.jsonl", "--positive", "refund"], "--positive is for pairs, and this is taken for classification"),
    ],
)
def test_a_wrong_option_is_one_sentence(arguments, said, project):
    labels = ("refund", "delivery", "account")
    rows = [
        {"text": f"a question {number}, which is of some length", "label": labels[number % 3]} for number in range(30)
    ]
    (project / "data/asked.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    text = printed(project, "add-task", *arguments, fails=True)
    assert said in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("first", "said"),
    [("text,text,label", "the header line names `text` twice"), ("yes,yes,1", "its first line looks like a row")],
)
def test_a_header_that_names_a_column_twice_is_no_row(first, said, project):
    rows = [f"{('yes', 'no')[number % 2]},question {number},{number // 2 % 2}" for number in range(40)]
    (project / "data/asked.csv").write_text("\n".join([first, *rows, ""]))
    text = printed(project, "add-task", "data/asked.csv", "--kind", "pair", "--text", "column1,column2", "--label",
                   "column3", fails="names" in said)  # fmt: skip
    assert said in text


def test_texts_that_yaml_would_take_for_something_else_are_quoted():
    value = {"labels": ["no", "1e5", "2024-01-02", "0", "null", "0x1f", "a: b", "", "退款", "~"], "n": 3}
    assert yaml.safe_load(block.text(value)) == value
    assert "'1e5'" in block.text(value)
