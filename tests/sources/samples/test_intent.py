"""The sample corpus of `intent`: 34 intents in declared proportions, clean, reproducible, not to be solved by words."""

import re

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from retune.errors import RetuneError
from retune.sources.samples.intent import FAMILIES, generate, read_families, write

REQUESTS = "取消 开通 变更 停复机 重置/修改/补发 打印/邮寄 移机/装机/拆机 缴费 下载/设置 补换卡 销户/重开"
ENQUIRIES = (
    "业务规定 业务资费 营销活动信息 办理方式 账户信息 业务订购信息查询 产品/业务功能 用户资料 "
    "服务渠道信息 使用方式 号码状态 工单处理结果 宽带覆盖范围 电商货品信息"
)
COMPLAINTS = "业务使用问题 不知情定制问题 费用问题 业务办理问题 服务问题 业务规定不满 营销问题 网络问题 信息安全问题"
LABELS = {
    *(f"办理{name}" for name in REQUESTS.split()),
    *(f"咨询（含查询）{name}" for name in ENQUIRIES.split()),
    *(f"投诉（含抱怨）{name}" for name in COMPLAINTS.split()),
}


@pytest.fixture(scope="module")
def corpus() -> pl.DataFrame:
    return generate(42, None)


def counts(table: pl.DataFrame) -> dict[str, int]:
    return dict(table.group_by("intent").len().iter_rows())


def test_the_file_holds_the_rows_as_a_user_would_have_them(corpus, tmp_path):
    write(tmp_path, 42, None)
    assert [path.name for path in tmp_path.iterdir()] == ["utterances.csv"]
    read = pl.read_csv(tmp_path / "utterances.csv")
    assert read.columns == ["id", "text", "intent", "family"]
    assert read.equals(corpus)
    assert read["id"].to_list() == list(range(1, len(read) + 1))


def test_it_has_about_2400_rows_of_exactly_the_34_intents(corpus):
    assert 2300 <= len(corpus) <= 2500
    assert len(LABELS) == 34
    assert set(corpus["intent"]) == LABELS
    assert corpus.null_count().sum_horizontal().item() == 0


def test_every_intent_has_20_families_or_more_and_no_family_is_shared(corpus):
    assert corpus.group_by("intent").agg(pl.col("family").n_unique())["family"].min() >= 20
    assert corpus.group_by("family").agg(pl.col("intent").n_unique())["intent"].max() == 1
    for families in read_families(*FAMILIES).values():
        assert all(len(wordings) >= 2 for wordings in families.values())


def test_the_largest_intent_has_8_times_the_rows_of_the_smallest_which_has_24_or_more(corpus):
    rows = counts(corpus).values()
    assert min(rows) >= 24
    assert max(rows) >= 8 * min(rows)


def test_no_text_stands_twice_and_no_slot_is_left_open(corpus):
    assert corpus["text"].n_unique() == len(corpus)
    assert not corpus["text"].str.contains(r"[{}|/]| $|^ ").any()


def test_a_third_of_the_rows_are_dialogues_of_2_to_5_turns(corpus):
    turns = corpus["text"].str.split("[SEP]")
    assert turns.list.len().max() <= 5
    assert (turns.list.len() > 1).mean() == pytest.approx(1 / 3, abs=0.05)
    assert turns.explode().str.len_chars().min() >= 1


def test_any_turn_of_a_dialogue_may_carry_the_request(corpus):
    rows = corpus.filter(pl.col("family") == "资费_彩铃", pl.col("text").str.contains("[SEP]", literal=True))
    rows = pl.concat([rows, *(generate(seed, None).join(rows, on="family", how="semi") for seed in range(5))])
    place = [[i for i, turn in enumerate(text.split("[SEP]")) if "彩铃" in turn] for text in rows["text"]]
    assert {0, 1, 2} <= {i for found in place for i in found}


def test_a_part_of_the_rows_has_no_punctuation(corpus):
    assert 0.35 < (~corpus["text"].str.contains("[，？]")).mean() < 0.7


def test_the_seed_decides_the_rows(corpus):
    assert generate(42, None).equals(corpus)
    assert not generate(43, None).equals(corpus)


@pytest.mark.parametrize("rows", [34, 100, 333, 1200, 2000])
def test_fewer_rows_are_the_first_ones_and_keep_the_proportions(corpus, rows):
    part = generate(42, rows)
    assert part.equals(corpus.head(rows))
    whole, found = counts(corpus), counts(part)
    assert set(found) == LABELS
    if rows >= 333:
        for intent, count in whole.items():
            assert abs(found[intent] - rows * count / len(corpus)) <= 2, intent


@pytest.mark.parametrize("rows", [0, -1, 10**6])
def test_a_number_of_rows_that_does_not_exist_is_an_error(tmp_path, rows):
    with pytest.raises(RetuneError, match=rf"rows is {rows}, .* has \d+ rows; ask for 1 to \d+"):
        write(tmp_path, 42, rows)
    assert not list(tmp_path.iterdir())


def test_a_wording_or_family_met_twice_is_an_error(tmp_path):
    path = tmp_path / "families.yaml"
    path.write_text("甲:\n  彩铃: 退彩铃 | 把彩铃退了\n乙:\n  铃声: 退，彩铃 | 开彩铃\n", encoding="utf-8")
    with pytest.raises(RetuneError, match="退彩铃 is in 彩铃 of 甲 and in 铃声 of 乙"):
        read_families(path)
    path.write_text("甲:\n  彩铃: 退彩铃 | 把彩铃退了\n乙:\n  彩铃: 开彩铃 | 彩铃开开\n", encoding="utf-8")
    with pytest.raises(RetuneError, match="彩铃 is in 彩铃 of 甲 and in 彩铃 of 乙"):
        read_families(path)


def test_no_sentence_is_ragged():
    for families in read_families(*FAMILIES).values():
        for wording in (wording for wordings in families.values() for wording in wordings):
            assert wording == wording.strip()
            assert 4 <= len(wording) <= 40, wording
            assert re.fullmatch(r"[^|/,?!:;()\s]+", wording), wording


def test_words_help_but_do_not_solve_unseen_families(corpus):
    accuracy, majority = lexical_accuracy(corpus, 0)
    assert majority + 0.15 < accuracy < 0.7


def lexical_accuracy(corpus: pl.DataFrame, seed: int) -> tuple[float, float]:
    """Accuracy on 40 % of the families of TF-IDF character n-grams and a logistic regression; and of the largest."""
    families = np.random.default_rng(seed).permutation(sorted(set(corpus["family"])))
    seen = corpus["family"].is_in(families[: len(families) * 6 // 10].tolist()).to_numpy()
    text, intent = corpus["text"].to_numpy(), corpus["intent"].to_numpy()
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=3, sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=100, tol=1e-2).fit(vectors.fit_transform(text[seen]), intent[seen])
    _, sizes = np.unique(intent[~seen], return_counts=True)
    return model.score(vectors.transform(text[~seen]), intent[~seen]), sizes.max() / sizes.sum()
