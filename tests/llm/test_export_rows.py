"""Exported rows: the shape that LLaMA-Factory reads, and the very texts that Retune's own LLM learner trains on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from retune.errors import RetuneError
from retune.llm.export_rows import export
from retune.llm.prompt import prompt, targets
from retune.params import Params, loads
from tests.support import tiny_llm
from tests.support.command_line import printed
from tests.support.declarations import write

PAIR = {
    "kind": "pair",
    "labels": ["0", "1"],
    "prompt": {
        "system": "判断是否对齐。",
        "user": "问：{text_a}\n文：{text_b}",
        "answers": {"0": "不对齐", "1": "对齐"},
    },
}
PAIRS = {
    "id": ["a", "b"],
    "group": ["g", "g"],
    "text_a": ["e100怎么办", "含{text_b}的问题"],
    "text_b": ["e100.1过流", "e101"],
    "label": [1, 0],
    "reasoning": ["1. 主码相同", None],
    "origin": ["original", "original"],
}
SCORING = {
    "kind": "scoring",
    "labels": ["1", "2", "3"],
    "prompt": {
        "system": None,
        "user": "{document}：{dimension}",
        "answers": {"1": "1", "2": "2", "3": "3"},
        "reason": "\n理由：",
        "values": {"dimension": {"innovation": "创新性"}},
    },
}
SCORES = {
    "id": ["a", "b"],
    "document": ["甲公司", "乙公司"],
    "dimension": pl.Series(["innovation", "innovation"], dtype=pl.Enum(["innovation"])),
    "score": pl.Series([3, 1], dtype=pl.Int16),
    "reasoning": ["研发8%", "研发1%"],
    "reason": ["研发投入高", None],
}
CLASSES = {
    "kind": "classification",
    "labels": ["查询", "投诉"],
    "prompt": {"system": "意图：\n{labels}", "user": "{text}", "answers": {"查询": "查", "投诉": "诉"}},
}
RANKING = {
    "kind": "ranking",
    "prompt": {"system": "能否回答？", "user": "{query}|{document}", "answers": {"0": "否", "1": "是"}},
}


def exported(folder: Path, spec: dict, rows: dict, form: str, split: str = "train", **options):
    """The file of one split, and dataset_info.json where there is one."""
    (folder / "rows").mkdir(exist_ok=True)
    pl.DataFrame(rows).write_parquet(folder / f"rows/{split}.parquet")
    counts = export("task", loads(json.dumps(spec)), folder / "rows", form, folder / "out", [split], **options)
    (name,) = counts
    text = (folder / "out" / name).read_text(encoding="utf-8")
    read = [json.loads(line) for line in text.splitlines()] if form == "jsonl" else json.loads(text)
    assert len(read) == counts[name] == len(rows["id"])
    assert not [path for path in (folder / "out").iterdir() if path.name.startswith(".")]
    info = folder / "out/dataset_info.json"
    return read, json.loads(info.read_text(encoding="utf-8")) if info.is_file() else None


def said(record: dict) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in record["messages"]]


def llama_factory(records: list[dict], info: dict) -> list[dict]:
    """What LLaMA-Factory's converters make of a file (data/converter.py): system, prompt turns, response."""
    columns, found = info["columns"], []
    for record in records:
        if info["formatting"] == "alpaca":
            query = [record[columns[key]] for key in ("prompt", "query") if record.get(columns[key])]
            found.append(
                {"system": record[columns["system"]], "prompt": query, "response": record[columns["response"]]}
            )
            continue
        tags, messages = info["tags"], record[columns["messages"]]
        role, content = tags["role_tag"], tags["content_tag"]
        system = messages.pop(0)[content] if messages[0][role] == tags["system_tag"] else ""
        assert len(messages) % 2 == 0
        for place, message in enumerate(messages):
            assert message[role] == (tags["assistant_tag"] if place % 2 else tags["user_tag"])
        *asked, answer = [message[content] for message in messages]
        found.append({"system": system, "prompt": asked, "response": answer})
    return found


def test_sharegpt_has_system_user_and_the_reasoning_between_tags_before_the_answer(tmp_path):
    records, info = exported(tmp_path, PAIR, PAIRS, "sharegpt")
    assert said(records[0]) == [
        ("system", "判断是否对齐。"),
        ("user", "问：e100怎么办\n文：e100.1过流"),
        ("assistant", "<think>\n1. 主码相同\n</think>\n\n对齐"),
    ]
    assert said(records[1])[1][1] == "问：含{text_b}的问题\n文：e101"
    entry = info["task_train"]
    assert entry["file_name"] == "task_train.json"
    assert (entry["formatting"], entry["columns"]) == ("sharegpt", {"messages": "messages"})
    assert (entry["tags"]["role_tag"], entry["tags"]["content_tag"]) == ("role", "content")


def test_llama_factory_reads_both_forms_as_the_same_conversations(tmp_path):
    read = []
    for form in ("sharegpt", "alpaca"):
        (tmp_path / form).mkdir()
        records, info = exported(tmp_path / form, PAIR, PAIRS, form)
        read.append(llama_factory(records, info["task_train"]))
    assert read[0] == read[1]
    assert read[0][0]["system"] == "判断是否对齐。"


def test_thinking_is_left_out_on_request_and_where_no_row_has_reasoning(tmp_path):
    records, _ = exported(tmp_path, PAIR, PAIRS, "alpaca", thinking=False)
    assert [record["output"] for record in records] == ["对齐", "不对齐"]
    assert records[0]["input"] == ""
    records, _ = exported(tmp_path, PAIR, {**PAIRS, "reasoning": pl.Series([None, None], dtype=pl.String)}, "alpaca")
    assert [record["output"] for record in records] == ["对齐", "不对齐"]


def test_scores_come_with_the_text_of_the_dimension_and_the_reason_of_rows_that_have_one(tmp_path):
    records, _ = exported(tmp_path, SCORING, SCORES, "sharegpt")
    assert said(records[0]) == [
        ("user", "甲公司：创新性"),
        ("assistant", "<think>\n研发8%\n</think>\n\n3\n理由：研发投入高"),
    ]
    assert said(records[1])[1][1] == "<think>\n研发1%\n</think>\n\n1"


def test_labels_are_said_as_the_prompt_says_them(tmp_path):
    rows = {"id": ["a"], "text": ["查话费"], "label": pl.Series(["查询"], dtype=pl.Enum(["查询", "投诉"]))}
    records, _ = exported(tmp_path, CLASSES, rows, "sharegpt")
    assert said(records[0]) == [("system", "意图：\n查 查询\n诉 投诉"), ("user", "查话费"), ("assistant", "查")]


def test_a_ranking_gives_a_row_for_each_query_and_document_with_the_rerankers_question(tmp_path):
    rows = {"id": ["a", "b"], "query": ["问", "问"], "document": ["甲", "乙"], "relevance": [0.5, 0.49]}
    records, _ = exported(tmp_path, RANKING, rows, "alpaca")
    assert [(record["instruction"], record["output"]) for record in records] == [("问|甲", "是"), ("问|乙", "否")]


def test_jsonl_is_the_table(tmp_path):
    records, info = exported(tmp_path, {"kind": "scoring"}, SCORES, "jsonl")
    assert records == pl.DataFrame(SCORES).to_dicts()
    assert info is None


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize(("spec", "rows"), [(PAIR, PAIRS), (SCORING, SCORES)])
def test_the_texts_are_those_that_the_llm_learner_reads(tmp_path, spec, rows, thinking):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llm.tiny_llm(tmp_path / "base"))
    records, _ = exported(tmp_path, spec, rows, "sharegpt", thinking=thinking)
    fields = ("document", "dimension") if spec["kind"] == "scoring" else ("text_a", "text_b")
    chat = prompt.prepare(tokenizer, spec["prompt"], fields, spec["labels"], 4096, thinking=thinking)
    table = pl.DataFrame(rows)
    read = prompt.encode(chat, table).ids
    codes = [spec["labels"].index(str(target)) for target in rows["label" if spec["kind"] == "pair" else "score"]]
    written = targets.encode(chat, table, codes, read).ids
    for record, asked, answer in zip(records, read, written, strict=True):
        *turns, last = record["messages"]
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert tokenizer.decode(asked) == rendered
        assert tokenizer.decode(answer[:-1]) == last["content"]


def test_several_tasks_and_splits_share_a_folder_and_a_dataset_info(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    exported(tmp_path, PAIR, PAIRS, "sharegpt")
    _, info = exported(tmp_path, PAIR, PAIRS, "sharegpt", "dev")
    assert list(info) == ["mine", "task_train", "task_dev"]


def test_a_failure_leaves_what_was_there(tmp_path):
    exported(tmp_path, PAIR, PAIRS, "sharegpt")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    pl.DataFrame({**PAIRS, "label": [1, 7]}).write_parquet(tmp_path / "rows/train.parquet")
    with pytest.raises(KeyError):
        export("task", loads(json.dumps(PAIR)), tmp_path / "rows", "sharegpt", tmp_path / "out", ["train"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_what_cant_be_exported_is_said(tmp_path):
    (tmp_path / "rows").mkdir()
    spec = Params(kind="pair", labels=["0", "1"])
    for form, split, sentence in (
        ("csv", "train", "--format csv: take sharegpt, alpaca, jsonl"),
        ("jsonl", "tests", "--split tests: take train, dev, calibration, test"),
        ("jsonl", "train", r"train\.parquet is missing: run `dvc repro split@task` first"),
        ("alpaca", "train", r"tasks\.task has no `prompt`"),
    ):
        with pytest.raises(RetuneError, match=sentence):
            export("task", spec, tmp_path / "rows", form, tmp_path / "out", [split])
    exported(tmp_path, PAIR, PAIRS, "sharegpt")
    (tmp_path / "out/dataset_info.json").write_text("{")
    with pytest.raises(RetuneError, match=r"dataset_info\.json:1 is not JSON"):
        exported(tmp_path, PAIR, PAIRS, "sharegpt")


@pytest.mark.slow
def test_the_command_writes_the_files_of_a_task(tmp_path):
    folder = write(tmp_path / "project")
    assert "run `dvc repro resolve`" in printed(folder, "rows", "questions", "--out", "out", fails=True)
    from retune.pipeline.reads import dumps
    from retune.pipeline.resolve import resolve

    (folder / "params-resolved.json").write_text(dumps(resolve(folder).resolved), encoding="utf-8")
    (folder / "data/splits/questions").mkdir(parents=True)
    for split in ("train", "dev", "calibration", "test"):
        pl.DataFrame(PAIRS).write_parquet(folder / f"data/splits/questions/{split}.parquet")
    assert "out/questions_test.json: 2 rows" in printed(folder, "rows", "questions", "--out", "out")
    assert len(list((folder / "out").iterdir())) == 5
    shutil.rmtree(folder / "out")
    printed(folder, "rows", "questions", "--format", "jsonl", "--split", "dev", "--out", "out")
    assert [path.name for path in (folder / "out").iterdir()] == ["questions_dev.jsonl"]
    assert "did you mean `questions`" in printed(folder, "rows", "question", "--out", "out", fails=True)
