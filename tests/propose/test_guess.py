"""From a file to a kind and a mapping: what each form of data is taken for, and what is told where it is unclear."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from retune.data import kinds
from retune.errors import RetuneError
from retune.params import loads
from retune.propose import command, draft
from retune.propose.look import Said

WORDS = ["天气", "银行", "贷款", "额度", "账单", "还款", "如何", "开通", "取消", "支付", "商家", "红包", "手机", "快递"]


class Texts:
    """Texts that differ, the same for each test."""

    def __init__(self) -> None:
        self.random = random.Random(1)

    def text(self, words: int = 6) -> str:
        return "".join(self.random.choice(WORDS) for _ in range(words))

    def one_of(self, *values):
        return self.random.choice(values)


@pytest.fixture
def some():
    return Texts()


def proposed(folder, *files, said=None, **table):
    """The proposal for files of a folder, named as the command line would."""
    named = [command.named(file) if isinstance(file, str) else (None, file) for file in files]
    named = [(split, folder / path) for split, path in named]
    return draft.draft(named, said or Said(), table, "task", None, folder / "scratch")


def columns(one) -> dict:
    (table,) = one.source["tables"]
    return table["columns"]


def write(folder, name, rows):
    frame = pl.DataFrame(rows)
    if name.endswith(".jsonl"):
        (folder / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif name.endswith(".json"):
        (folder / name).write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    elif name.endswith(".parquet"):
        frame.write_parquet(folder / name)
    elif name.endswith(".xlsx"):
        frame.write_excel(folder / name)
    else:
        frame.write_csv(folder / name, separator="\t" if name.endswith(".tsv") else ",")


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.json", "d.jsonl", "d.parquet", "d.xlsx"])
def test_each_format_is_read_and_understood_alike(name, tmp_path, some):
    rows = [
        {"编号": str(i), "评论内容": some.text(), "情感": "负正"[i % 2] + "面", "时间": f"2024-01-{i % 28 + 1:02}"}
        for i in range(60)
    ]
    write(tmp_path, name, rows)
    one = proposed(tmp_path, name)
    assert one.task["kind"] == "classification"
    assert columns(one) == {"id": "编号", "text": "评论内容", "label": "情感"}
    assert set(one.task["labels"]) == {"正面", "负面"}
    assert one.ambiguous == []


def test_two_texts_with_yes_or_no_are_a_pair(tmp_path, some):
    rows = [{"id": i, "question1": some.text(), "question2": some.text(), "is_duplicate": some.one_of("True", "False")}
            for i in range(60)]  # fmt: skip
    write(tmp_path, "d.csv", rows)
    one = proposed(tmp_path, "d.csv")
    assert one.task["kind"] == "pair"
    assert columns(one)["label"] == {"from": "is_duplicate", "map": {"False": 0, "True": 1}}
    assert (columns(one)["text_a"], columns(one)["text_b"]) == ("question1", "question2")


def test_of_several_pairs_of_fields_the_texts_are_taken(tmp_path, some):
    rows = [{"brand_left": some.one_of("", "A社"), "title_left": some.text(), "price_left": i, "brand_right": "A社",
             "title_right": some.text(), "price_right": i, "label": i % 2, "is_hard": i % 3 == 0}
            for i in range(60)]  # fmt: skip
    write(tmp_path, "d.csv", rows)
    assert columns(proposed(tmp_path, "d.csv")) == {"text_a": "title_left", "text_b": "title_right", "label": "label"}


def test_of_fields_without_a_telling_name_one_of_two_values_is_the_label(tmp_path, some):
    rows = [{"b": "wxyz"[i % 4], "a": "uv"[i % 2], "question": some.text()} for i in range(60)]
    write(tmp_path, "d.csv", rows)
    one = proposed(tmp_path, "d.csv")
    assert columns(one)["label"] == "a"
    assert "`--label b`" in one.ambiguous[0]


def test_labels_that_no_word_tells_apart_are_unclear_and_an_option_decides(tmp_path, some):
    write(
        tmp_path, "d.csv", [{"left": some.text(), "right": some.text(), "label": "xy"[i % 3 == 0]} for i in range(60)]
    )
    one = proposed(tmp_path, "d.csv")
    assert columns(one)["label"]["map"] == {"x": 0, "y": 1}
    assert "`--positive x` takes the other" in one.ambiguous[0]
    other = proposed(tmp_path, "d.csv", said=Said(positive="x"))
    assert columns(other)["label"]["map"] == {"x": 1, "y": 0}
    assert other.ambiguous == []


def test_a_query_with_graded_documents_is_a_ranking(tmp_path, some):
    rows = []
    for _ in range(30):
        query = some.text()
        rows += [{"query": query, "title": some.text(), "label": str(some.random.randint(0, 3))} for _ in range(4)]
    write(tmp_path, "d.json", rows)
    one = proposed(tmp_path, "d.json")
    assert one.task["kind"] == "ranking"
    assert columns(one)["relevance"] == {"from": "label", "map": {"0": 0, "1": 0.33, "2": 0.67, "3": 1}}
    assert (columns(one)["query"], columns(one)["document"]) == ("query", "title")


def test_a_relevance_and_a_weight_beside_a_topic(tmp_path, some):
    rows = [
        {"query": some.text(), "doc": some.text(9), "rel": i % 101 / 100, "weight": 0.5, "topic": f"t{i % 12}"}
        for i in range(120)
    ]
    write(tmp_path, "d.json", rows)
    assert columns(proposed(tmp_path, "d.json")) == {
        "query": "query", "document": "doc", "relevance": "rel", "weight": "weight", "group": "topic",
    }  # fmt: skip


def test_scores_in_an_object_by_dimension_become_a_table_each(tmp_path, some):
    rows = [{"text": some.text(20), "marks": {name: {"score": some.random.randint(3, 10), "reason": some.text()}
                                              for name in ("clarity", "depth")}} for _ in range(60)]  # fmt: skip
    write(tmp_path, "d.jsonl", rows)
    one = proposed(tmp_path, "d.jsonl")
    assert (one.task["kind"], one.task["scores"]) == ("scoring", [1, 10])
    assert [table["columns"]["score"] for table in one.source["tables"]] == ["marks.clarity.score", "marks.depth.score"]
    assert one.source["tables"][1]["columns"]["reason"] == "marks.depth.reason"
    assert one.source["tables"][1]["columns"]["dimension"] == {"value": "depth"}


def test_texts_and_grades_in_two_files_are_joined_by_line(tmp_path, some):
    write(
        tmp_path, "essays.jsonl", [{"title": some.text(3), "para": [[some.text(9)], [some.text(9)]]} for _ in range(60)]
    )
    grades = [{"logic_score": some.one_of("Bad", "Medium", "Great"), "score": some.one_of("Bad", "Medium", "Great")}
              for _ in range(60)]  # fmt: skip
    write(tmp_path, "scores.jsonl", grades)
    one = proposed(tmp_path, "scores.jsonl", "essays.jsonl")
    table = one.source["tables"][0]
    assert (table["file"], table["join"]) == ("essays.jsonl", {"file": "scores.jsonl"})
    assert table["columns"]["document"] == {"from": "para", "join": ""}
    assert table["columns"]["score"] == {"from": "$join.logic_score", "map": {"Bad": 1, "Medium": 2, "Great": 3}}
    assert one.task["scores"] == [1, 3]


def test_a_prompt_with_two_texts_and_an_answer_with_its_reason(tmp_path, some):
    rows = [{"prompt": f"Are these the same? First: '{some.text()}'. Second: '{some.text()}'.",
             "completion": f"{some.one_of('Yes', 'No')}. {some.text(8)}"} for _ in range(60)]  # fmt: skip
    write(tmp_path, "d.csv", rows)
    one = proposed(tmp_path, "d.csv")
    assert one.task == {"kind": "pair", "source": "task", "reasoning": True}
    assert columns(one)["text_a"]["regex"].startswith("(?s)^Are these the same\\? First: '(.*?)'")
    assert columns(one)["label"]["map"] == {"No": 0, "Yes": 1}


def test_a_file_without_a_header(tmp_path, some):
    (tmp_path / "d.csv").write_text("".join(f"{some.text()},{some.text()},{i % 2}\n" for i in range(60)), "utf-8")
    one = proposed(tmp_path, "d.csv")
    assert one.source["tables"][0]["fields"] == ["column1", "column2", "column3"]
    assert columns(one) == {"text_a": "column1", "text_b": "column2", "label": "column3"}
    named = proposed(tmp_path, "d.csv", fields=["a", "b", "same"])
    assert columns(named) == {"text_a": "a", "text_b": "b", "label": "same"}


def test_the_index_of_a_data_frame_and_questions_as_names_make_no_row_of_a_header(tmp_path, some):
    rows = "".join(f"{i},{some.text()},{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / "frame.csv").write_text(",text,label\n" + rows, "utf-8")
    assert columns(proposed(tmp_path, "frame.csv")) == {"text": "text", "label": "label"}
    (tmp_path / "counted.csv").write_text("0,1,2\n" + rows, "utf-8")
    assert columns(proposed(tmp_path, "counted.csv"))["label"] == "2"
    (tmp_path / "form.csv").write_text("No.,What did you like?,Would you come again?\n" + rows, "utf-8")
    assert columns(proposed(tmp_path, "form.csv"))["text"] == "What did you like?"


def test_an_instruction_that_is_always_the_same_is_no_text(tmp_path, some):
    rows = [{"instruction": "是退款吗", "input": some.text(), "output": "是否"[i % 2]} for i in range(60)]
    write(tmp_path, "d.json", rows)
    assert columns(proposed(tmp_path, "d.json")) == {"text": "input", "label": "output"}


def test_names_are_taken_where_numbers_say_the_same(tmp_path, some):
    names = ["退款", "咨询", "投诉"]
    rows = [{"text": some.text(), "label": i % 3, "label_text": names[i % 3]} for i in range(60)]
    write(tmp_path, "d.parquet", rows)
    assert columns(proposed(tmp_path, "d.parquet")) == {"text": "text", "label": "label_text"}


def test_files_named_after_splits_are_official_ones_and_their_ids_may_repeat(tmp_path, some):
    for name in ("train", "dev", "test"):
        write(tmp_path, f"{name}.jsonl", [{"id": i, "text": some.text(), "label": str(i % 2)} for i in range(40)])
    one = proposed(tmp_path, "train.jsonl", "dev.jsonl", "test.jsonl")
    assert [table.get("split") for table in one.source["tables"]] == [None, "dev", "test"]
    assert one.source["tables"][0]["columns"]["id"] == {"from": ["$file", "id"], "join": "-"}


def test_a_folder_with_a_file_for_each_dimension(tmp_path, some):
    (tmp_path / "data/train").mkdir(parents=True)
    for name in ("depth", "style", "tone"):
        write(tmp_path, f"data/train/{name}.json",
              [{"essay": some.text(20), "score": some.random.randint(1, 5)} for _ in range(40)])  # fmt: skip
    one = proposed(tmp_path, "data")
    (table,) = one.source["tables"]
    assert (table["file"], table["columns"]["dimension"]) == ("*.json", "$file")
    assert list(one.task["dimensions"]) == ["depth", "style", "tone"]


def test_a_field_of_splits_and_one_of_groups_are_used(tmp_path, some):
    rows = [
        {"content": some.text(30), "category": "ab"[i % 2], "split": some.one_of("train", "valid", "test"),
         "user_session": f"s{i % 20}"} for i in range(200)
    ]  # fmt: skip
    write(tmp_path, "d.jsonl", rows)
    found = columns(proposed(tmp_path, "d.jsonl"))
    assert found["split"]["map"] == {"train": "train", "test": "test", "valid": "dev"}
    assert found["group"] == "user_session"


def test_options_beat_every_guess(tmp_path, some):
    rows = [{"title": some.text(3), "body": some.text(30), "label": i % 2, "stars": i % 5 + 1} for i in range(100)]
    write(tmp_path, "d.jsonl", rows)
    said = Said(kind="scoring", label="stars", texts=("title", "body"))
    one = proposed(tmp_path, "d.jsonl", said=said)
    assert columns(one)["document"] == {"from": ["title", "body"], "join": "\n"}
    assert columns(one)["score"] == "stars"
    with pytest.raises(RetuneError, match="there is no field `star`; did you mean `stars`"):
        proposed(tmp_path, "d.jsonl", said=Said(label="star"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "d.json",
            '{"0": "退款", "1": "咨询"}',
            "is one JSON object with the keys 0, 1, and not rows: looked for a list",
        ),
        (
            "d.jsonl",
            '{"id": 1, "a": "甲乙丙丁"}\n{"id": 2, "a": "子丑寅卯"}\n{"id": 3, "a": "丙丁戊己"}\n',
            "no field looks like a label: looked for",
        ),
        ("d.csv", "score,grade\n" + "1,2\n2,1\n" * 20, "no field looks like a text to read: looked for"),
        ("d.csv", "", "is empty"),
        ("d.txt", "just words\nand more\n", "is understood as no format: looked for csv, tsv, json"),
        ("d.json", '{"a": [{"x": 1}], "b": [{"y": 1}]}', "several lists of objects (a, b): `--records a` says which"),
    ],
)
def test_a_file_that_is_not_understood_gets_one_error_that_says_what_was_looked_for(name, text, said, tmp_path):
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(RetuneError) as caught:
        proposed(tmp_path, name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["afqmc_train.csv"], "afqmc"),
        (["wdc_small_train.csv", "wdc_gold_test.csv"], "wdc"),
        (["essay_text.jsonl", "essay_traits.jsonl"], "essay"),
        (["2024.csv"], "task_2024"),
        (["null.csv"], "task_null"),
        (["中文.xlsx"], "task"),
        (["Q&A pairs-v2.json.gz"], "q_a_pairs_v2"),
    ],
)
def test_the_name_is_made_of_the_files_names(files, name):
    assert draft.valid_name([Path(file) for file in files]) == name


@pytest.mark.parametrize("kind", ["pair", "classification", "ranking", "scoring"])
def test_the_columns_that_an_option_may_name_are_those_of_the_kind(kind):
    spec = loads('{"labels": ["0", "1"], "scores": [1, 5], "dimensions": {"a": "a"}}')
    assert sorted(command.COLUMNS[kind]) == sorted(kinds.of(kind).schema(spec).columns())
