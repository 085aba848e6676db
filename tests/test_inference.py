"""Built models on new rows: from a file by `retune predict`, from Python by `retune.load`, typed into `retune ask`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import retune
from retune import predict_file
from retune.errors import RetuneError
from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.params import loads
from tests.support.command_line import run

pytestmark = pytest.mark.slow

LABELS = ["办理取消", "办理开通", "查询"]
TEXTS = ["帮我取消套餐", "我要开通流量包", "查一下话费"]
TEMPERATURE, THRESHOLD = 2.0, 0.2


def fitted(root: Path, name: str, kind: str, labels: list[str], rows: pl.DataFrame, calibration: dict[str, Any]) -> Any:
    folder = root / "models" / name
    folder.mkdir(parents=True)
    options = {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 1.0, "class_weights": "none"}
    spec = {"task": kind, "kind": kind, "labels": labels, "learner": "linear", "base": "scratch", "seed": 0}
    spec |= {"linear": options, "hardware": {}}
    (folder / "spec.json").write_text(json.dumps(spec))
    fit_logistic(loads(json.dumps(spec)), rows, rows, root, folder, root)
    (root / f"data/calibrations/{kind}").mkdir(parents=True)
    (root / f"data/calibrations/{kind}/{name}.json").write_text(json.dumps({"temperature": TEMPERATURE, **calibration}))
    return spec


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two linear models, and one that is declared but not built."""
    root = tmp_path_factory.mktemp("project")
    (root / "models/bases/scratch").mkdir(parents=True)
    count = 30
    pairs = pl.DataFrame({"text_a": ["花呗怎么还", "借呗利息"] * count, "text_b": ["花呗怎么还钱", "花呗额度"] * count})
    pairs = pairs.with_columns(
        label=pl.Series([1, 0] * count, dtype=pl.Int8), id=pl.int_range(2 * count).cast(pl.String)
    )
    texts = pl.DataFrame({"text": TEXTS * count, "label": LABELS * count})
    models = {
        "same": fitted(root, "same", "pair", ["0", "1"], pairs, {"threshold": THRESHOLD}),
        "intent": fitted(root, "intent", "classification", LABELS, texts, {}),
        "later": {"task": "pair"},
    }
    columns = {"text_a": "sentence1", "text_b": "sentence2", "label": "label"}
    tables = [
        {"file": "train.csv", "columns": columns},
        {"file": "dev.json", "format": "jsonl", "columns": columns | {"text_b": {"from": "b.text", "regex": "^[^!]+"}}},
    ]
    tasks = {"pair": {"convert": {"tables": tables}}, "classification": {"convert": {"tables": []}}}
    (root / "params-resolved.json").write_text(
        json.dumps({"seed": 0, "tasks": tasks, "models": models, "predictions": {}})
    )
    return root


PAIRS = [("花呗怎么还", "花呗怎么还钱"), ("借呗利息", "花呗额度"), ("花呗", "借呗"), ("余额宝", "余额宝")]


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


def test_decisions_are_those_of_the_report(root: Path) -> None:
    from retune.evaluation.kinds.pair import decided

    model = retune.load(root / "models/same")
    rows = pl.DataFrame(PAIRS, schema=["text_a", "text_b"], orient="row")
    raw = model.predictor.predict(rows.with_columns(id=pl.lit("x")))
    joined = raw.select("prob_0", "prob_1", label=pl.lit(0), parsed=pl.lit(True), group=pl.lit("g"))
    expected = decided(joined, TEMPERATURE, THRESHOLD)
    found = model.predict(rows)
    assert found["prob_1"].to_list() == pytest.approx(expected.probabilities.tolist())
    assert found["label"].cast(pl.Int64).to_list() == expected.decisions.tolist()
    assert ((found["prob_1"] > THRESHOLD) & (found["prob_1"] < 0.5)).any(), "the threshold must matter"
    assert not np.allclose(found["prob_1"], raw["prob_1"]), "the temperature must matter"
    chosen = pl.when(pl.col("label") == "1").then("prob_1").otherwise("prob_0")
    assert found["probability"].to_list() == found.select(chosen).to_series().to_list()


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


def test_texts_are_classified_from_python(root: Path) -> None:
    model = retune.load(root / "models/intent")
    found = model.classify([TEXTS[1], TEXTS[0]])
    assert [row["label"] for row in found] == [LABELS[1], LABELS[0]]
    assert all(1 / 3 < row["probability"] < 1 for row in found)
    assert model.classify([]) == []
    assert model.predict(pl.DataFrame({"text": TEXTS, "more": 1}).to_pandas())["label"].to_list() == LABELS
    with pytest.raises(RetuneError, match=r"row 1 \(from 0\) has no `text`"):
        model.classify(["a", " "])
    with pytest.raises(RetuneError, match="same reads `text_b`, but the rows have text_a"):
        retune.load(root / "models/same").predict([{"text_a": "a"}])


def test_pairs_are_classified_and_aligned_one_by_one_or_in_a_batch(root: Path) -> None:
    model = retune.load(root / "models/same")
    wanted = [
        {"label": row["label"], "probability": row["probability"]}
        for row in model.predict([{"text_a": a, "text_b": b} for a, b in PAIRS])
    ]
    assert model.classify(PAIRS) == model.similar(PAIRS) == wanted
    assert model.similar([list(pair) for pair in PAIRS]) == wanted  # as JSON has them
    aligned = model.align(PAIRS)
    assert [{"label": row["label"], "probability": row["probability"]} for row in aligned] == wanted
    assert [model.align(*pair) for pair in PAIRS] == [
        row | {"probability": pytest.approx(row["probability"])} for row in aligned
    ]
    assert model.similar([]) == model.align([]) == model.predict([]) == []


@pytest.mark.parametrize(
    ("name", "method", "inputs", "said"),
    [
        (
            "same",
            "score",
            ("a",),
            r"score is for kind scoring, and same is of kind pair: call similar\(pairs\) or align",
        ),
        ("same", "rerank", ("a", ["b"]), "rerank is for kind ranking, and same is of kind pair: call similar"),
        ("same", "embed", (["a"],), "embed is for learner embedder, and same is of learner linear: call similar"),
        (
            "intent",
            "similar",
            ([("a", "b")],),
            r"similar is for kind pair, and intent is of .*: call classify\(texts\)",
        ),
        ("intent", "align", ("a", "b"), r"align is for kind pair, and intent is of kind classification: call classify"),
        ("intent", "classify", ("帮我查",), "classify of intent takes a list of texts, not one text"),
        ("same", "similar", ("帮我查",), "similar of same takes a list of pairs, not one text"),
        ("same", "classify", (["a"],), r"classify of same: input 0 \(from 0\) is no pair of text_a and text_b"),
        ("same", "similar", ([("a", "b"), ("a", 1)],), r"input 1 \(from 0\) is no pair of text_a and text_b"),
        ("intent", "classify", ([("a", "b")],), r"classify of intent: input 0 \(from 0\) is no text"),
        ("intent", "classify", (["a", None],), r"row 1 \(from 0\) has no `text`"),
    ],
)
def test_a_wrong_method_or_input_is_one_sentence_that_names_the_right_one(
    root: Path, name: str, method: str, inputs: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(RetuneError, match=said):
        getattr(retune.load(root / "models" / name), method)(*inputs)


@pytest.mark.slow
def test_a_typed_line_is_labelled_with_the_likeliest_three(root: Path) -> None:
    out, _ = run(root, "ask", "intent", text=f"{TEXTS[2]}\n{TEXTS[0]}\n\n{TEXTS[1]}\n")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["查询", "办理取消"]
    assert lines[0].count(", ") == 2
    out, _ = run(root, "ask", "same", text="花呗怎么还\n花呗怎么还钱\n")
    assert out.startswith("1  (1 0.")


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


def test_only_an_llm_asks_for_the_folder_of_its_base(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "models/bases")
    rows = [{"text_a": a, "text_b": b} for a, b in PAIRS]
    assert retune.load(copy / "models/same").predict(rows) == retune.load(root / "models/same").predict(rows)
    spec = copy / "models/same/spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"learner": "llm"}))
    said = "models/bases/scratch is missing: `retune pull same` gets it, or `dvc repro download_base@scratch`"
    with pytest.raises(RetuneError, match=said):
        retune.load(copy / "models/same")
