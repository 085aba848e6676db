"""Rows without labels: read as the catalog says, and none like a row that is measured."""

from __future__ import annotations

import polars as pl
import pytest

from retune.data.convert import unlabelled
from retune.data.kinds import classification, pair
from retune.errors import RetuneError
from retune.params import Params


def spec_of(columns: dict, kind: str = "classification", **more) -> Params:
    return Params({"kind": kind, "unlabelled": [{"file": "*.csv", "columns": columns}], "max_rejects": 0.3} | more)


def test_records_become_distinct_rows_and_bad_ones_are_told(tmp_path, caplog):
    (tmp_path / "a.csv").write_text('q\n怎么还款\n怎么还款\n额度多少\n""\n', encoding="utf-8")
    (tmp_path / "b.csv").write_text("q\n怎么退款\n", encoding="utf-8")
    found = unlabelled.read(spec_of({"text": "q"}), tmp_path, tmp_path / "scratch")
    assert found["text"].to_list() == ["怎么还款", "额度多少", "怎么退款"]
    assert found["id"].n_unique() == 3
    assert "1 of 5 unlabelled records can't be read" in caplog.text
    with pytest.raises(RetuneError, match="1 of 5 unlabelled records"):
        unlabelled.read(spec_of({"text": "q"}, max_rejects=0.1), tmp_path, tmp_path / "again")


def test_records_are_joined_and_chosen_as_those_of_tables_are(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "calls.csv").write_text("id,lang\n1,zh\n2,en\n3,zh\n", encoding="utf-8")
    (tmp_path / "texts.csv").write_text("id,q\n1,怎么还款\n2,how\n3,额度多少\n", encoding="utf-8")
    table = {"file": "calls.csv", "join": {"file": "texts.csv", "by": "id"}, "where": "lang = 'zh'"}
    spec = spec_of({}) | {"unlabelled": [table | {"columns": {"text": "$join.q"}}]}
    found = unlabelled.read(Params(spec), tmp_path, tmp_path / "scratch")
    assert found["text"].to_list() == ["怎么还款", "额度多少"]
    assert "calls.csv: `where` leaves out 1 of 3 unlabelled records" in caplog.text


def test_a_document_counts_in_every_dimension_where_none_is_mapped(tmp_path):
    (tmp_path / "a.csv").write_text("d\n好公司\n坏公司\n", encoding="utf-8")
    spec = spec_of({"document": "d"}, "scoring", dimensions={"growth": "成长", "debt": "负债"})
    found = unlabelled.read(spec, tmp_path, tmp_path / "scratch")
    assert found["dimension"].cast(pl.String).to_list() == ["growth", "debt"] * 2
    assert found["document"].to_list() == ["好公司"] * 2 + ["坏公司"] * 2


def table(texts: list[str], start: str) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"{start}{i}" for i in range(len(texts))], "text": texts})


def test_no_row_like_a_measured_one_stays(caplog):
    caplog.set_level("INFO")
    rows = table(
        ["花呗怎么提前还款？", "花呗怎么提前还款呀", "借呗 额度", "余额宝收益", "全新的一个问题", "银行卡"], "u"
    )
    measured = [table(["花呗怎么提前还款"], "d"), table(["借呗额度！"], "c"), table(["别的什么"], "t")]
    found = unlabelled.apart(rows, table(["银行卡。"], "r"), measured, classification)
    assert found["text"].to_list() == ["余额宝收益", "全新的一个问题"]
    assert (
        "2 with a text of dev, calibration or test, 1 nearly like one of their rows, 1 that are training rows; 2 left"
        in caplog.text
    )


def test_a_pair_goes_with_one_text_of_a_measured_pair_on_either_side():
    rows = pl.DataFrame({"id": ["1", "2"], "text_a": ["甲问题", "丙问题"], "text_b": ["乙问题", "丁问题"]})
    measured = pl.DataFrame({"id": ["t"], "text_a": ["乙问题"], "text_b": ["戊"]})
    train = pl.DataFrame({"id": ["r"], "text_a": ["丙问题"], "text_b": ["己"]})
    assert unlabelled.apart(rows, train, [measured], pair)["id"].to_list() == ["2"], "of train only whole rows count"
