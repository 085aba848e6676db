"""The sample corpus of `similarity`: clean, reproducible, and not to be solved by shared characters."""

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from retune.errors import RetuneError
from retune.sources.samples.similarity import FAMILIES, generate, read_families


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return generate(42, None)


def texts(pairs: pl.DataFrame, column: str) -> list[str]:
    return pairs[column].to_list()


def test_it_has_over_2400_pairs_of_over_150_families_and_31_percent_are_positive(pairs):
    assert pairs.columns == ["sentence1", "sentence2", "label", "family"]
    assert len(pairs) >= 2400
    assert pairs["family"].n_unique() >= 150
    assert set(pairs["label"]) == {0, 1}
    assert pairs["label"].mean() == pytest.approx(0.31, abs=0.005)
    assert pairs.null_count().sum_horizontal().item() == 0


def test_no_sentence_is_in_two_families(pairs):
    sentences = pl.concat([pairs.select("family", text=column) for column in ("sentence1", "sentence2")])
    spelled = sentences.with_columns(pl.col("text").str.replace_all(r"[\s，,。？?]", ""))
    assert spelled.group_by("text").agg(pl.col("family").n_unique())["family"].max() == 1


def test_no_pair_stands_twice_in_either_order_and_none_pairs_a_sentence_with_itself(pairs):
    unordered = {frozenset(pair) for pair in pairs.select("sentence1", "sentence2").iter_rows()}
    assert len(unordered) == len(pairs)
    assert all(len(pair) == 2 for pair in unordered)


def test_labels_follow_the_questions_of_one_family(pairs):
    question = {
        sentence: (name, number)
        for name, intents in read_families(FAMILIES).items()
        for number, intent in enumerate(intents)
        for sentence in intent
    }
    for a, b, label, family in pairs.iter_rows():
        assert question[a][0] == question[b][0] == family
        assert (question[a] == question[b]) == bool(label)


def test_the_file_names_each_family_once_and_no_sentence_is_ragged():
    families = read_families(FAMILIES)
    lines = FAMILIES.read_text(encoding="utf-8").splitlines()
    assert len(families) == sum(line.endswith(":") and line[0] not in " #" for line in lines)
    for intents in families.values():
        assert len(intents) >= 2
        assert all(
            sentence == sentence.strip() and 4 <= len(sentence) <= 40 for intent in intents for sentence in intent
        )
        assert not any("|" in sentence for intent in intents for sentence in intent)


def test_the_seed_decides_the_pairs(pairs):
    assert generate(42, None).equals(pairs)
    assert not generate(43, None).equals(pairs)


def test_a_smaller_size_is_made_of_whole_families_with_the_same_share(pairs):
    for size in (1, 40, 333, 1500, len(pairs)):
        part = generate(42, size)
        assert len(part) == size
        assert part.equals(pairs.head(size))
        assert abs(part["label"].sum() - size * pairs["label"].mean()) <= 1
        counts = part.group_by("family").len()["len"]
        assert (counts < 16).sum() <= 1


@pytest.mark.parametrize("size", [0, -1, 10**6])
def test_a_size_that_does_not_exist_is_an_error(size):
    with pytest.raises(RetuneError, match=rf"size is {size}, .* has \d+ pairs; ask for 1 to \d+"):
        generate(42, size)


def test_a_sentence_in_two_families_is_an_error(tmp_path):
    path = tmp_path / "families.yaml"
    path.write_text("甲:\n  - 花呗怎么还 | 咋还花呗\n乙:\n  - 花呗几号还 | 咋还花呗\n", encoding="utf-8")
    with pytest.raises(RetuneError, match="咋还花呗 is in 甲 and in 乙"):
        read_families(path)


def test_shared_characters_say_little_about_the_label(pairs):
    def overlap(a: str, b: str) -> float:
        return len(set(a) & set(b)) / len(set(a) | set(b))

    shared = [overlap(a, b) for a, b in pairs.select("sentence1", "sentence2").iter_rows()]
    assert 0.42 < roc_auc_score(pairs["label"], shared) < 0.6


def test_a_lexical_model_stays_modest_on_unseen_families(pairs):
    aucs = [lexical_auc(pairs, seed) for seed in range(3)]
    assert 0.5 < np.mean(aucs) < 0.68


def lexical_auc(pairs: pl.DataFrame, seed: int) -> float:
    """AUC on a quarter of the families of TF-IDF character n-grams and a logistic regression fitted on the others."""
    families = np.random.default_rng(seed).permutation(sorted(set(pairs["family"])))
    seen = pairs["family"].is_in(families[len(families) // 4 :].tolist()).to_numpy()
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=2)
    vectors.fit(texts(pairs.filter(seen), "sentence1") + texts(pairs.filter(seen), "sentence2"))
    a, b = (vectors.transform(texts(pairs, column)) for column in ("sentence1", "sentence2"))
    features, label = abs(a - b), pairs["label"].to_numpy()
    model = LogisticRegression(max_iter=500).fit(features[seen], label[seen])
    return roc_auc_score(label[~seen], model.decision_function(features[~seen]))
