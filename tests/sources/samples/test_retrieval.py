"""The sample corpus of `retrieval`: clean, reproducible, graded, and only half solved by shared characters."""

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from retune.errors import RetuneError
from retune.sources.samples.retrieval import BANDS, FILES, read_topics, write


def pairs_of(folder: Path, seed: int, rows: int | None) -> list[dict]:
    write(folder, seed, rows)
    return json.loads((folder / "pairs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    return pairs_of(tmp_path_factory.mktemp("retrieval"), 42, None)


@pytest.fixture(scope="module")
def pairs(rows) -> pl.DataFrame:
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def queries(pairs) -> list[pl.DataFrame]:
    return pairs.partition_by("query", maintain_order=True)


def grade(rel: float) -> str:
    (name,) = [name for name, (low, high) in BANDS.items() if low <= rel <= high]
    return name


def test_it_has_over_200_queries_of_over_50_topics_with_6_different_documents_each(pairs, queries):
    assert pairs.columns == ["key", "query", "doc", "rel", "weight", "topic"]
    assert len(queries) >= 200
    assert pairs["topic"].n_unique() >= 50
    assert all(len(query) == 6 and query["doc"].n_unique() == 6 for query in queries)
    assert all(query["topic"].n_unique() == 1 for query in queries)
    assert pairs["key"].n_unique() == len(pairs)
    assert pairs.null_count().sum_horizontal().item() == 0


def test_no_query_and_no_passage_stands_twice_in_other_punctuation():
    topics = read_topics(FILES).values()
    for texts in ([q for t in topics for q in t.queries], [p for t in topics for p in t.passages.values()]):
        assert len({"".join(filter(str.isalnum, text)) for text in texts}) == len(texts)


def test_queries_are_short_and_passages_have_the_length_of_a_help_text(pairs):
    assert pairs["query"].str.len_chars().is_between(5, 40).all()
    assert pairs["doc"].str.len_chars().is_between(30, 120).all()
    assert all(text == text.strip() for text in [*pairs["query"], *pairs["doc"]])


def test_a_query_has_a_full_answer_a_decoy_and_more_than_three_grades(queries):
    for query in queries:
        grades = Counter(map(grade, query["rel"]))
        assert grades["full"] == grades["decoy"] == grades["other"] == 1
        assert len(grades) > 3
    parted = [query for query in queries if "part" in map(grade, query["rel"])]
    assert len(parted) > 25


def test_rel_and_weight_stay_in_their_ranges_and_vary(pairs):
    assert pairs["rel"].is_between(0, 1).all()
    assert pairs["weight"].is_between(0.5, 1.5).all()
    assert pairs["rel"].n_unique() > 40
    assert pairs["weight"].n_unique() > 80


def test_the_bands_of_two_grades_never_meet():
    bands = list(BANDS.values())
    assert all(low < high for low, high in bands)
    assert all(worse[1] < better[0] for better, worse in pairwise(bands))


def test_a_passage_of_grade_0_comes_from_another_domain_and_the_others_from_the_topic(pairs):
    topics = read_topics(FILES)
    domain = {text: topic.domain for topic in topics.values() for text in topic.passages.values()}
    for doc, rel, topic in pairs.select("doc", "rel", "topic").iter_rows():
        if grade(rel) == "other":
            assert domain[doc] != topics[topic].domain
        else:
            assert doc in topics[topic].passages.values()


def test_every_answer_of_a_topic_is_asked_for():
    for name, topic in read_topics(FILES).items():
        assert list(topic.passages) == ["a", "b", "c", "d", "x"], name
        assert {letters[0] for letters in topic.queries.values()} == {"a", "b", "c", "d"}, name


def test_the_seed_decides_the_rows(rows, tmp_path):
    assert pairs_of(tmp_path, 42, None) == rows
    again = pairs_of(tmp_path, 43, None)
    assert again != rows
    assert {row["query"] for row in again} == {row["query"] for row in rows}
    assert [row["rel"] for row in sorted(again, key=lambda row: row["key"])] != [
        row["rel"] for row in sorted(rows, key=lambda row: row["key"])
    ]


def test_the_place_of_a_document_does_not_tell_its_grade(pairs):
    places = pairs.with_columns(place=pl.col("key").str.extract(r"-(\d)$"))
    means = places.group_by("place").agg(pl.col("rel").mean())["rel"]
    assert means.max() - means.min() < 0.15


@pytest.mark.parametrize("size", [1, 100, 600])
def test_fewer_rows_are_whole_queries_of_which_only_the_last_is_cut(rows, size, tmp_path):
    part = pairs_of(tmp_path, 42, size)
    assert part == rows[:size]
    counts = list(Counter(row["query"] for row in part).values())
    assert all(count == 6 for count in counts[:-1])
    assert len(counts) == math.ceil(size / 6)


@pytest.mark.parametrize("size", [0, -1, 10**6])
def test_a_number_of_rows_that_does_not_exist_is_an_error(size, tmp_path):
    with pytest.raises(RetuneError, match=rf"rows is {size}, .* has \d+ rows; ask for 1 to \d+"):
        write(tmp_path, 42, size)
    assert not list(tmp_path.iterdir())


def test_a_passage_in_two_topics_is_an_error(tmp_path):
    path = tmp_path / "retrieval.home.yaml"
    path.write_text("甲:\n  a: 一样\n  queries: [a | 问一]\n乙:\n  a: 一样\n  queries: [a | 问二]\n", encoding="utf-8")
    with pytest.raises(RetuneError, match=r"retrieval\.home\.yaml: 一样 is in 甲 and in 乙"):
        read_topics([path])


@pytest.mark.parametrize("letters", ["b", "a x", "x"])
def test_a_query_that_names_no_answer_is_an_error(letters, tmp_path):
    path = tmp_path / "retrieval.home.yaml"
    path.write_text(f"甲:\n  a: 答\n  x: 非\n  queries: ['{letters} | 问']\n", encoding="utf-8")
    with pytest.raises(RetuneError, match=rf"问 names {letters[-1]}, which is no answer of 甲"):
        read_topics([path])


def test_bm25_finds_the_best_passage_for_about_half_of_the_queries(pairs, queries):
    documents = {text: terms(text) for text in pairs["doc"].unique(maintain_order=True)}
    frequency = Counter(term for document in documents.values() for term in document)
    mean = sum(map(Counter.total, documents.values())) / len(documents)

    def bm25(query: str, text: str) -> float:
        found = {term: documents[text][term] for term in terms(query) if term in documents[text]}
        length = 1.2 * (0.25 + 0.75 * documents[text].total() / mean)
        return sum(
            math.log(1 + (len(documents) - frequency[term] + 0.5) / (frequency[term] + 0.5)) * count / (count + length)
            for term, count in found.items()
        )

    hits = 0
    for query in queries:
        first = max(query.iter_rows(named=True), key=lambda row: bm25(row["query"], row["doc"]))
        hits += first["rel"] == query["rel"].max()
    assert 0.35 < hits / len(queries) < 0.65


def terms(text: str) -> Counter:
    """Characters and character bigrams."""
    text = "".join(filter(str.isalnum, text.lower()))
    return Counter([*text, *(text[i : i + 2] for i in range(len(text) - 1))])
