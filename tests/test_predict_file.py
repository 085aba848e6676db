"""Predictions of a file, by `retune predict`: a line for each record, whatever the file is like."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import retune
from retune import predict_file
from retune.errors import RetuneError
from tests.support import asked_project, inference_project
from tests.support.command_line import run
from tests.support.inference_project import PAIRS, TEXTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inference_project.project(tmp_path_factory.mktemp("project"))


def written(folder: Path, form: str) -> Path:
    """The pairs in a file, the third without its second text."""
    rows = [{"id": 7 + i, "sentence1": a, "sentence2": b if i != 2 else ""} for i, (a, b) in enumerate(PAIRS)]
    file = folder / f"new.{form}"
    match form:
        case "csv" | "tsv":
            with file.open("w", newline="", encoding="gb18030") as stream:
                writer = csv.DictWriter(stream, rows[0], delimiter="," if form == "csv" else "\t")
                writer.writeheader()
                writer.writerows(rows)
        case "json":
            file.write_text(json.dumps(rows, ensure_ascii=False))
        case "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case "parquet":
            pl.DataFrame(rows).write_parquet(file)
        case "xlsx":
            pl.DataFrame(rows).write_excel(file)
    return file


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "parquet", "xlsx"])
def test_every_record_gives_one_line_in_order_whatever_the_format(form: str, root: Path, tmp_path: Path) -> None:
    model, file, out = retune.load(root / "models/same"), written(tmp_path, form), tmp_path / "out.jsonl"
    tables = json.loads((root / "params-resolved.json").read_text())["tasks"]["pair"]["convert"]["tables"][:1]
    with predict_file.output(out, None) as (stream, chosen):
        done = predict_file.predict(model, file, *predict_file.mapping(model, file, tables, None, {}), chosen, stream)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["7", "8", "9", "10"]
    good = [{"text_a": a, "text_b": b} for i, (a, b) in enumerate(PAIRS) if i != 2]
    expected = model.predict(good)
    assert [lines[i]["prob_1"] for i in (0, 1, 3)] == pytest.approx([row["prob_1"] for row in expected])
    assert [lines[i]["label"] for i in (0, 1, 3)] == [row["label"] for row in expected]
    assert lines[2]["label"] is None
    assert "`text_b` is missing" in lines[2]["reason"]
    assert (done.rows, done.empty, done.truncated) == (4, 1, 0)


def test_the_command_writes_csv_and_says_what_is_bad_by_file_and_line(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text('sentence1,sentence2\n花呗,"借\n呗"\n花呗,\n借呗,利息,5\n借呗,利息\n')
    out, errors = run(root, "predict", "same", str(file))
    lines = list(csv.DictReader(out.splitlines()))
    assert [line["line"] for line in lines] == ["2", "4", "5", "6"]
    assert list(lines[0]) == ["line", "label", "probability", "prob_0", "prob_1", "reason"]
    assert [line["label"] == "" for line in lines] == [False, True, True, False]
    assert f"{file}:4: `text_b` is missing (field `sentence2`)" in errors
    assert f"{file}:5: 3 fields instead of 2" in errors
    assert "4 records, 2 without a prediction, 0 cut" in errors


def test_the_contests_format_has_the_files_ids_and_a_line_for_every_record(root: Path, tmp_path: Path) -> None:
    file, out = written(tmp_path, "jsonl"), tmp_path / "deep/submission.json"
    run(root, "predict", "same", str(file), "--out", str(out), "--format", "contest", "--table", "1")
    lines = out.read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [7, 8, 9, 10]
    assert lines[0] == '{"id": 7, "label": "1"}'
    assert lines[2] == '{"id": 9, "label": ""}'
    assert list(out.parent.iterdir()) == [out], "nothing else is left"


def test_the_mapping_is_the_catalogs_for_the_format_and_columns_beat_it(root: Path, tmp_path: Path) -> None:
    model = retune.load(root / "models/same")
    tables = json.loads((root / "params-resolved.json").read_text())["tasks"]["pair"]["convert"]["tables"]
    _, columns = predict_file.mapping(model, Path("x.jsonl"), tables, None, {})
    assert columns == {"text_a": "sentence1", "text_b": {"from": "b.text", "regex": "^[^!]+"}}
    _, columns = predict_file.mapping(model, Path("x.jsonl"), tables, 1, {"text_a": "q", "id": "key"})
    assert columns == {"text_a": "q", "text_b": "sentence2", "id": "key"}
    how, _ = predict_file.mapping(model, Path("dev.json"), tables, None, {})
    assert how == {"format": "jsonl"}
    for arguments, said in (
        ((tables, 3, {}), "--table 3: the source of task pair has 2 tables"),
        ((tables, None, {"label": "x"}), "--column label: same reads text_a, text_b"),
        (([], None, {"text_a": "q"}), "nothing says where `text_b` is in x.csv: give --column text_b=FIELD"),
    ):
        with pytest.raises(RetuneError, match=said):
            predict_file.mapping(model, Path("x.csv"), *arguments)


def test_a_long_file_is_predicted_in_parts_with_one_result(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = retune.load(root / "models/intent"), tmp_path / "long.csv"
    file.write_text("text\n" + "".join(f"{TEXTS[i % 3]}{i}\n" if i % 7 else '""\n' for i in range(50)))
    outputs = []
    for chunk in (1, 16, 4096):
        monkeypatch.setattr(predict_file, "CHUNK", chunk)
        with predict_file.output(tmp_path / "out.csv", None) as (stream, form):
            predict_file.predict(model, file, {}, {"text": "text"}, form, stream)
        outputs.append((tmp_path / "out.csv").read_text())
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(outputs[0].splitlines()) == 51
    assert outputs[0].splitlines()[0] == "line,label,probability,prob_办理取消,prob_办理开通,prob_查询,reason"


def test_no_record_is_lost_behind_a_stray_quote(root: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "new.csv", tmp_path / "out.jsonl"
    lines = [f"{i},花呗{i},借呗{i}" for i in range(60)]
    lines[4], lines[50] = '4,"5寸屏,手机', '50,屏幕5",手机'
    file.write_text("id,sentence1,sentence2\n" + "\n".join(lines) + "\n")
    _, errors = run(root, "predict", "same", str(file), "--out", str(out))
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["line"] for line in found] == list(range(2, 62))
    assert [line["line"] for line in found if line["label"] is None] == [6]
    assert f"{file}:6: a quote opens here and closes in line 52 only" in errors


def test_a_large_id_keeps_all_its_digits(root: Path, tmp_path: Path) -> None:
    names = ["12345678901234567890123", "9223372036854775808", "007", "7"]
    rows = [f'{{"id": {name}, "sentence1": "花呗", "sentence2": "借呗"}}' for name in names if name != "007"]
    file, out = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(rows) + '\n{"id": "007", "sentence1": "花呗", "sentence2": "借呗"}\n')
    run(root, "predict", "same", str(file), "--out", str(out), "--format", "contest", "--table", "1")
    found = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert found == ["12345678901234567890123", 9223372036854775808, 7, "007"]


def test_texts_in_an_exploded_field_are_found_and_judged_dimensions_are_not_needed(root: Path, tmp_path: Path) -> None:
    model, file = retune.load(root / "models/same"), tmp_path / "new.jsonl"
    record = {"q": "花呗怎么还", "hits": [{"t": "花呗怎么还钱"}, {"t": "借呗"}]}
    file.write_text(json.dumps(record) + "\n")
    table = {
        "file": "x.jsonl",
        "explode": {"field": "hits"},
        "columns": {"text_a": "q", "text_b": "value.t", "label": "value.y"},
    }
    how, columns = predict_file.mapping(model, file, [table], None, {})
    with predict_file.output(tmp_path / "out.jsonl", None) as (stream, form):
        done = predict_file.predict(model, file, how, columns, form, stream)
    assert (done.rows, done.empty) == (2, 0)
    table = {"explode": {"field": "dimensions", "key": "dimension"}}
    columns = {"document": "text", "dimension": "dimension"}
    assert predict_file._exploded(table, columns, {}) == ({"document": "text"}, False)
    assert predict_file._exploded(table, columns, {"dimension": "dimension"}) == (columns, False)


def test_documents_are_ranked_among_those_of_their_query_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    project, file = asked_project.project(tmp_path / "project"), tmp_path / "pairs.json"
    pairs = [
        ("怎么补卡", 0),
        ("流量", 1),
        ("怎么补卡", 1),
        ("流量", 0),
        ("怎么补卡", 1),
        ("怎么补卡", 2),
        ("怎么补卡", None),
    ]
    texts = [*asked_project.DOCUMENTS, None]
    records = [{"key": f"k{i}", "q": q, "doc": texts[-1 if d is None else d]} for i, (q, d) in enumerate(pairs)]
    file.write_text(json.dumps(records), encoding="utf-8")
    outputs = []
    for chunk in (1, 3, 4096):
        monkeypatch.setattr(predict_file, "CHUNK", chunk)
        out, errors = run(project, "predict", "search", str(file), "--json")
        outputs.append(out)
    assert outputs[0] == outputs[1] == outputs[2]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["id"] for line in lines] == [f"k{i}" for i in range(7)]
    model = retune.load(project / "models/search")
    for query, places in (("怎么补卡", [0, 2, 4, 5]), ("流量", [1, 3])):
        found = model.rerank(query, [records[i]["doc"] for i in places])
        assert [lines[places[one["place"]]]["rank"] for one in found] == list(range(1, len(places) + 1))
        assert [lines[places[one["place"]]]["relevance"] for one in found] == [one["relevance"] for one in found]
    assert lines[6]["rank"] is lines[6]["score"] is None
    assert "`document` is missing" in lines[6]["reason"]
    assert "7 records, 1 without a prediction" in errors
    assert (
        "--format contest is for labels"
        in run(project, "predict", "search", str(file), "--format", "contest", fails=True)[1]
    )


def test_a_table_without_the_catalogs_id_is_predicted_and_told(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("text\n查一下话费\n", encoding="utf-8")
    out, errors = run(root, "predict", "intent", str(file), "--column", "text=text", "--column", "id=number")
    assert out.splitlines()[0].startswith("line,label,")
    assert f"no record of {file} has the field `number`: no line has an id by it" in errors


def test_what_cannot_work_is_said_in_one_sentence(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path, "jsonl")
    for arguments, said in (
        (("sam", file), "retune: there is no model `sam`; did you mean `same`?"),
        (("later", file), "the model later is not built: run `dvc repro calibrate@later`"),
        (("same", "none.csv"), "none.csv is not there"),
        (("same", file, "--column", "text_a"), "--column text_a: give NAME=FIELD"),
        (("same", file, "--out", "x.txt"), "`.txt` tells no format; end it in .csv, .jsonl, .ndjson, or give --format"),
        (("same", file, "--format", "xml"), "--format xml: take csv, jsonl or contest"),
        (
            ("same", file, "--table", "1", "--column", "text_a=sentense1"),
            "has the field `sentense1`; did you mean `sentence1`?",
        ),
        (("same", file, "--out", file), "is the file that is predicted: give another name"),
    ):
        _, errors = run(root, "predict", *map(str, arguments), fails=True)
        assert said in errors
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "data/calibrations/pair/same.json").unlink()
    said = r"pair/same\.json is missing: `retune pull same` gets it, or `dvc repro calibrate@same`"
    with pytest.raises(RetuneError, match=said):
        retune.load(copy / "models/same")
