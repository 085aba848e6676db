"""What is seen in the splits before training: overlaps, conflicts, lengths, unseen characters, and the warnings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data import near_duplicates
from retune.data.kinds import classification, pair
from retune.encoders import tokens
from retune.llm.prompt import prompt
from retune.params import Params
from retune.report.exploration import explore, page, token_lengths
from tests.support import ROOT, tiny_encoder, tiny_llm

SPLITS = ("train", "dev", "calibration", "test")
LABELS = ["开通", "取消"]
PROMPT = {"system": "选择：\n{labels}", "user": "{text_a} / {text_b} {other}", "answers": {"0": "否", "1": "是的"}}
words = st.text("花呗借还款额", min_size=1, max_size=8)


def pairs(*rows: tuple[str, str, int], origin: str = "original") -> pl.LazyFrame:
    table = [(f"i{n}", *row, origin) for n, row in enumerate(rows)]
    return pl.LazyFrame(table, schema=["id", "text_a", "text_b", "label", "origin"], orient="row")


def texts(*rows: tuple[str, str], origin: str = "original") -> pl.LazyFrame:
    table = [(f"i{n}", *row, origin) for n, row in enumerate(rows)]
    return pl.LazyFrame(table, schema=["id", "text", "label", "origin"], orient="row")


def found(frames: dict[str, pl.LazyFrame], kind=pair, bases: Path = Path(), **spec) -> dict:
    spare = pairs(("开头", "别的", 0)) if kind is pair else texts(("其他内容", "开通"))
    return explore(
        {name: frames.get(name, spare) for name in SPLITS}, Params({"readers": [], "labels": [], **spec}), kind, bases
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(words), st.lists(words), st.sampled_from([0.4, 0.7, 1.0]))
def test_the_join_finds_what_comparing_all_with_all_finds(left, right, alike):
    def index(a: str, b: str) -> float:
        first, second = near_duplicates.grams(a), near_duplicates.grams(b)
        return len(first & second) / len(first | second)

    numbered = near_duplicates.numbered([*left, *right])
    joined = near_duplicates.join({a: numbered[a] for a in left}, {b: numbered[b] for b in right}, alike)
    every = [(a, b, index(a, b)) for a in set(left) for b in set(right)]
    assert joined == sorted(entry for entry in every if entry[2] >= alike - 1e-9)


def test_pairs_are_alike_in_either_order_and_only_if_both_texts_are():
    result = found(
        {
            "train": pairs(("花呗怎么提前还款呢请问", "借呗的额度怎么突然就变少了", 1), ("什么", "为何", 0)),
            "test": pairs(
                (
                    "借呗的额度怎么突然变少了",
                    "花呗怎么提前还款呢请问一下",
                    0,
                ),  # nearly the first, turned, another label
                ("花呗怎么提前还款呢请问", "余额宝", 1),  # one text only
                ("為何", "什么", 0),
                ("什 么", "为何", 0),  # the same but for white space
            ),
        }
    )
    assert result["alike"]["train, test"] == {"rows": 4, "same": 1, "near": 1, "other_target": 1}
    assert result["alike"]["dev, calibration"]["same"] == 1
    example = result["examples"][0]
    assert example["splits"] == ["train", "test"]
    assert [row["target"] for row in example["rows"]] == ["1", "0"]
    (said,) = [said for said in result["warnings"] if "stand in train too" in said]
    assert said.startswith("50.0\u00a0% of the rows of test (1 the same, 1 nearly so) stand in train too: the figures")
    assert result["leaks"] == [said]


def test_the_same_texts_with_other_targets_are_shown_wherever_they_stand():
    result = found(
        {"train": texts(("我要 开通", "开通"), ("查话费", "取消")), "dev": texts(("我要开通", "取消"))}, classification
    )
    assert (result["conflicts"]["texts"], result["conflicts"]["rows"]) == (1, 2)
    assert [row["target"] for row in result["conflicts"]["examples"][0]] == LABELS
    assert "The same texts with different targets: 1 texts in 2 rows." in result["facts"]


def test_repeated_rows_are_counted_without_augmented_ones():
    twice = texts(("我要开通", "开通"), ("我要开通 ", "开通"))
    more = texts(("我要开通", "开通"), origin="delete").with_columns(id=pl.lit("i9"))
    result = found({"train": pl.concat([twice, more])}, classification)
    assert result["repeated"]["train"] == 2
    assert result["targets"]["train"] == {"开通": {"rows": 3, "augmented": 1}}


def test_a_label_without_training_rows_is_warned_of():
    said = found({"train": texts(("查话费", "开通"))}, classification, labels=LABELS)["warnings"]
    assert "No training row has the label 取消: no model can learn it." in said
    assert "Fewer than 10 training rows have the label 开通." in said


def test_unseen_characters_are_shares_of_what_occurs():
    unseen = found(
        {"train": texts(("一二三", "开通")), "test": texts(("一二二", "开通"), ("四四 三", "开通"))}, classification
    )
    test = unseen["unseen"]["test"]
    assert (test["characters"], test["rows"], test["most"]) == (pytest.approx(2 / 6), 0.5, [["四", 2]])
    assert test["pairs"] == pytest.approx(3 / 4)


def reader(base: Path, learner: str, limit: int = 16, **more) -> Params:
    return Params(models=["m"], base=base.name, learner=learner, max_length=limit, **more)


def test_tokens_are_counted_as_the_encoders_read_them(tmp_path):
    tiny_encoder.tiny_encoder(tmp_path / "encoder")
    rows = tiny_encoder.pairs(40)
    tokenizer = tokens.tokenizer_of(tmp_path / "encoder")
    columns = [rows[c].to_list() for c in pair.TEXTS]
    together = [len(row.ids) for row in tokens.encode(tokenizer, *columns, 999)]
    alone = [[len(row.ids) for row in tokens.encode(tokenizer, [f"query: {t}" for t in c], None, 999)] for c in columns]
    for learner, lengths in (("encoder", together), ("embedder", list(map(max, *alone)))):
        counted = token_lengths.tokens(reader(tmp_path / "encoder", learner), {"test": rows}, pair.TEXTS, tmp_path)
        assert counted["splits"]["test"]["max"] == max(lengths)
        assert counted["splits"]["test"]["mean"] == pytest.approx(sum(lengths) / len(lengths), abs=0.01)
        assert counted["over"]["test"] == sum(length > 16 for length in lengths) > 0


def test_tokens_of_an_llm_are_those_of_its_prompt_but_for_the_turns(tmp_path):
    tiny_llm.tiny_llm(tmp_path / "llm")
    rows = tiny_encoder.pairs(40)
    chat = prompt.prepare(tokens.tokenizer_of(tmp_path / "llm"), PROMPT, pair.TEXTS, pair.LABELS, 999)
    whole = pl.Series([len(ids) + max(map(len, chat.answers)) + 1 for ids in prompt.encode(chat, rows).ids])
    one = reader(tmp_path / "llm", "llm", prompt=Params(PROMPT))
    counted = token_lengths.tokens(one, {"test": rows}, pair.TEXTS, tmp_path)["splits"]["test"]
    turns = whole.max() - counted["max"]
    assert 0 < turns < 30
    assert counted["mean"] == pytest.approx(whole.mean() - turns, abs=0.01)


def test_rows_beyond_a_limit_and_unknown_tokens_are_warned_of(tmp_path):
    tiny_encoder.tiny_encoder(tmp_path / "encoder")
    long = pairs(("花呗怎么还款" * 4, "龘", 0))
    result = found({"test": long}, pair, tmp_path, readers=[reader(tmp_path / "encoder", "encoder")])
    said = " ".join(result["warnings"])
    assert "100.0 % of test is longer than the 16 tokens that m may read" in said.replace("\u00a0", " ")
    assert "unknown to the tokenizer of encoder" in said
    missing = found({}, pair, tmp_path, readers=[reader(tmp_path / "other", "encoder")])
    assert any("No tokens are counted for other" in fact for fact in missing["facts"])


def test_the_limit_of_an_encoder_is_what_it_has_positions_for(tmp_path):
    tiny_encoder.tiny_encoder(tmp_path / "encoder")
    long = pairs(("花呗怎么还款" * 30, "花呗", 0))
    for learner in ("encoder", "embedder"):
        result = found({"test": long}, pair, tmp_path, readers=[reader(tmp_path / "encoder", learner, 1024)])
        why = "the positions of encoder; training.max_length is 1,024"
        assert any(f"limit 128 ({why}), which" in said for said in result["facts"]), result["facts"]
        assert any(f"longer than the 128 tokens that m may read ({why})" in said for said in result["warnings"])
        assert result["tokens"][0]["over"]["test"] == 1


def test_a_large_split_is_sampled_and_says_so(monkeypatch):
    monkeypatch.setattr("retune.report.exploration.ROWS", 50)
    result = found({"train": texts(*((f"文本{n}", "开通") for n in range(400)))}, classification)
    assert result["rows"]["train"] == 400
    assert 20 < result["looked_at"]["train"] < 90
    assert result["facts"][0].startswith("Looked at, by hash: ")


def test_the_page_escapes_what_rows_hold():
    frames = {"train": texts(("<b>开通</b>", "<i>")), "test": texts(("<b>开通</b>", "开通"))}
    result = found(frames, classification)
    html = page.render("made", json.loads(json.dumps(result)))
    assert "<b>开通" not in html
    assert "&lt;b&gt;开通" in html
    assert "<i>" not in html


def test_the_stage_starts_without_torch_and_transformers():
    code = """if True:
        import sys, stages.explore, retune.data.kinds.pair
        print(sorted({"torch", "transformers", "sklearn"} & {name.split(".")[0] for name in sys.modules}))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
