"""The raw files of the reference systems, read as the catalog's entries for a user's own files say."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from retune.data.convert import convert
from retune.data.split import assign, official_splits
from retune.errors import RetuneError
from retune.params import loads
from retune.pipeline.schema.catalog import Source
from tests.support.declarations import ROOT

CATALOG = yaml.safe_load((ROOT / "data/catalog.yaml").read_text(encoding="utf-8"))
ALIGNMENT = {"kind": "pair", "reasoning": True}
RISK = {"kind": "scoring", "scores": [1, 10], "dimensions": {"innovation": "创新性", "diversity": "多元化"}}
STEPS = (
    "1. 提取question中的实体：产品信息-sv660n, 故障码信息-e100\n2. 提取chunk中的实体：产品信息-sv660, "
    "故障码信息-e100.1\n3. 判断实体是否对齐：{said}\n4. 给出判断理由：sv660n和sv660主型号相同，e100和e100.1主码相同"
)


def row(label: str, question: str = "sv660n出现e100故障怎么办？", steps: str = STEPS) -> dict:
    analysis = f"{steps.format(said=label)}\n\n<label>{label}</label>"
    return {"question": question, "chunk": "sv660系列变频器e100.1故障表示过电流...", "llm_analysis": analysis}


def converted(folder: Path, name: str, spec: dict, files: dict[str, list | str], max_rejects: float = 0.0):
    """The rows and the rejects of `files`, by the catalog entry `name`."""
    for path, rows in files.items():
        (folder / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "raw" / path).write_text(
            rows if isinstance(rows, str) else json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8"
        )
    source = Source.model_validate(CATALOG[name]).model_dump(by_alias=True, exclude_none=True)
    resolved = {**spec, "source": name, "tables": source["tables"], "max_rejects": max_rejects}
    (folder / "out").mkdir()
    convert(loads(json.dumps(resolved)), folder / "raw", folder / "out", folder / "scratch", folder / "visible")
    rejects = [json.loads(line) for line in (folder / "out/rejects.jsonl").read_text().splitlines()]
    return pl.read_parquet(folder / "out/rows.parquet"), rejects


def test_aligned_and_unaligned_files_are_merged_with_the_text_before_the_tag_as_reasoning(tmp_path):
    files = {
        "filtered_aligned.json": [row("对齐")],
        "filtered_aligned_unaligned.json": [row("不对齐", "sv670n出现e100故障怎么办？")],
    }
    rows, rejects = converted(tmp_path, "alignment-files", ALIGNMENT, files)
    assert rejects == []
    assert rows["label"].to_list() == [1, 0]
    assert rows["reasoning"].to_list() == [STEPS.format(said="对齐"), STEPS.format(said="不对齐")]
    assert rows["text_a"].to_list() == rows["group"].to_list()
    assert rows["text_b"][0] == "sv660系列变频器e100.1故障表示过电流..."


def test_a_single_file_may_hold_both_labels_or_leave_the_unaligned_out(tmp_path):
    rows, _ = converted(
        tmp_path, "alignment-single", ALIGNMENT, {"filtered_aligned.json": [row("对齐"), row("不对齐", "别的？")]}
    )
    assert rows["label"].to_list() == [1, 0]


def test_the_last_tag_counts_and_a_row_without_one_is_rejected_with_the_reason(tmp_path):
    quoted = "请在<label>不对齐</label>和<label>对齐</label>中选择。\n结论"
    bad = {**row("对齐", "无标签？"), "llm_analysis": "1. 提取实体：无"}
    odd, bare = row("部分对齐", "部分？"), {**row("对齐", "空？"), "llm_analysis": "<label>对齐</label>"}
    files = {
        "filtered_aligned.json": [row("对齐", steps=quoted), bad, odd, bare],
        "filtered_aligned_unaligned.json": [row("不对齐", "别的？")],
    }
    rows, rejects = converted(tmp_path, "alignment-files", ALIGNMENT, files, max_rejects=0.9)
    assert rows["label"].to_list() == [1, 0]
    assert rows["reasoning"][0] == quoted
    assert [reject["line"] for reject in rejects] == [7, 12, 17]
    assert "`label` does not match /(?s).*<label>(.*?)</label>/" in rejects[0]["reason"]
    assert '`label` is not in the value map: "部分对齐"' in rejects[1]["reason"]
    assert rejects[2]["reason"] == "`reasoning` is missing"


def scored(score: object = 7, **fields) -> dict:
    return {
        "prompt": "请进行评估", "company_info": "甲公司，研发费用占比8%。", "think": "分析思路", "score": score,
        "reason": "评分理由", **fields,
    }  # fmt: skip


def test_a_file_is_a_dimension_and_its_folder_the_official_split(tmp_path):
    files = {
        f"{split}/{name}.json": [scored(score, company_info=f"{split}公司") for score in (number,)]
        for split in ("train", "eval", "test")
        for number, name in enumerate(("innovation", "diversity"), start=3)
    }
    rows, _ = converted(tmp_path, "risk-files", RISK, files)
    found = rows.select("split", "dimension", "document", "score", "reasoning", "reason").rows()
    assert found == [
        (split, name, f"{folder}公司", score, "分析思路", "评分理由")
        for split, folder in (("train", "train"), ("dev", "eval"), ("test", "test"))
        for name, score in (("diversity", 4), ("innovation", 3))
    ]
    assert rows.group_by("document").agg(pl.col("group").n_unique())["group"].to_list() == [1, 1, 1]


def test_calibration_rows_come_from_train_and_all_dimensions_of_a_company_stay_together(tmp_path):
    files = {
        f"{split}/{name}.json": [scored(company_info=f"{split}{number}") for number in range(40)]
        for split in ("train", "eval", "test")
        for name in ("innovation", "diversity")
    }
    rows, _ = converted(tmp_path, "risk-files", RISK, files)
    lazy = rows.lazy().with_columns(pl.lit("original").alias("origin"))
    spec = loads(json.dumps({"dev": 0.1, "calibration": 0.25, "test": 0.2, "seed": 0}))
    parts = assign(lazy, spec, official_splits(lazy)).collect()
    assert parts.group_by("document").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(parts.filter(split="calibration")["document"].str.slice(0, 5)) == {"train"}
    assert parts.filter(split="dev").height == parts.filter(split="test").height == 80


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        ("innovation", scored(11), '`score` is above 10, the most that is allowed: "11"'),
        ("innovation", scored("高"), '`score` is no whole number: "高"'),
        ("novelty", scored(), "`dimension` is none of innovation, diversity"),
    ],
)
def test_what_is_no_score_or_dimension_of_the_task_is_rejected(tmp_path, name, entry, said):
    files = {f"{split}/innovation.json": [scored()] for split in ("train", "eval", "test")}
    files[f"train/{name}.json"] = [entry]
    with pytest.raises(RetuneError) as error:
        converted(tmp_path, "risk-files", RISK, files)
    assert said in str(error.value)


def test_rows_of_an_official_test_split_need_no_reasoning(tmp_path):
    asked = "Do the two match? Entity 1: 'HDD 4TB, 3.5'. Entity 2: 'Disk '4TB''."
    files = {
        "wdc_products_small_train_with_rationale.csv": (
            f'prompt,completion\n"{asked}",Yes. Both hold 4TB.\n"{asked}",No.\n'
        ),
        "wdc_products_gold_test.csv": "pair_id,title_left,title_right,label\n1#2,HDD,SSD,0\n",
    }
    rows, rejects = converted(tmp_path, "wdc-products", ALIGNMENT, files, max_rejects=0.9)
    assert rows.select("split", "text_a", "text_b", "label", "reasoning").rows() == [
        (None, "HDD 4TB, 3.5", "Disk '4TB'", 1, "Both hold 4TB."),
        ("test", "HDD", "SSD", 0, None),
    ]
    assert len(rejects) == 1
    assert "`reasoning`" in rejects[0]["reason"]


def test_a_dialogue_gives_a_row_for_each_of_its_judged_dimensions(tmp_path):
    names = ("semantic_consistency", "context_completeness", "language_naturalness")
    judged = {name: {"score": score, "reason": f"因为{score}"} for score, name in enumerate(names, 7)}
    line = json.dumps({"text": "喂[SEP]您好", "dimensions": judged}, ensure_ascii=False)
    spec = {"kind": "scoring", "scores": [1, 10], "dimensions": dict.fromkeys(names, "")}
    rows, _ = converted(tmp_path, "dialogue-quality", spec, {"cmcc_dialogue_quality_llm_judged.jsonl": line + "\n"})
    assert rows.select("dimension", "score", "reason").rows() == [(n, s, f"因为{s}") for s, n in enumerate(names, 7)]
    assert rows["group"].n_unique() == 1
