"""The sample corpus of `alignment`: labels that follow from the texts, near misses, reasoning, no surface clue."""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retune.errors import RetuneError
from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.params import loads
from retune.sources.samples.alignment import generate, write
from retune.sources.samples.alignment_rules import Entities, judge, reasoning

TAG = re.compile(r"(.*)\n\n<label>(对齐|不对齐)</label>", re.DOTALL)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return generate(42, None)


def label(row: dict) -> str:
    return TAG.fullmatch(row["llm_analysis"])[2]


def read(text: str) -> tuple[set[str], set[str], set[str]]:
    """Main models, main codes and parameters that a text names, by their form alone."""
    models, codes, parameters = set(), set(), set()
    for word in re.findall(r"[A-Za-z][A-Za-z0-9_.-]*", text):
        word = word.lower()
        if re.fullmatch(r"[hfpc]\d\d-\d\d", word):
            parameters.add(word)
        elif code := re.fullmatch(r"((?:e|err-|fault_|al)\d+)(?:\.\d)?", word):
            codes.add(code[1])
        elif model := re.fullmatch(r"((?:sv|is|md|kx|tf|hl|zd)\d+)[a-z]?", word):
            models.add(model[1])
        else:
            raise AssertionError(f"{word} in {text} is no entity")
    return models, codes, parameters


def verdict(question: str, chunk: str) -> str:
    """The label by the rules of the system prompt, read once more and slowly."""
    (products, codes, parameters), (their_products, their_codes, their_parameters) = read(question), read(chunk)
    if products and their_products and not any(one in their_products for one in products):
        return "不对齐"
    if codes and their_codes:
        return "对齐" if any(one in their_codes for one in codes) else "不对齐"
    if parameters and their_parameters:
        return "对齐" if any(one in their_parameters for one in parameters) else "不对齐"
    return "对齐"


def test_the_label_of_every_row_follows_from_its_texts(rows):
    wrong = [row for row in rows if verdict(row["question"], row["chunk"]) != label(row)]
    assert wrong == []


@pytest.mark.parametrize(
    ("question", "chunk", "aligned"),
    [
        (Entities(("sv660n",), ("e100",)), Entities(("sv660",), ("e100.1",)), True),
        (Entities(("sv660n",), ("e100",)), Entities(("sv670n",), ("e100",)), False),
        (Entities(("sv660n",), ("e100",)), Entities(("sv660n",), ("e101",)), False),
        (Entities(("SV660N",), ("E100.1",)), Entities(("sv660p",), ("e100.2",)), True),
        (Entities(("sv660n",), ("e100",)), Entities(("sv660n", "sv670n"), ("e101", "e100")), True),
        (Entities(("sv660n",), ("e100",)), Entities(("sv660",)), True),
        (Entities((), ("e100",)), Entities(("sv660",), ("e100",)), True),
        (Entities((), (), ("H05-02",)), Entities((), (), ("H05-03",)), False),
        (Entities((), ("e100",), ("H05-02",)), Entities((), ("e100",), ("H05-03",)), True),
        (Entities(), Entities(("sv660",)), True),
    ],
)
def test_the_rules_say_what_the_system_prompt_says(question, chunk, aligned):
    assert judge(question, chunk).aligned == aligned


def test_the_reasoning_names_every_entity_and_ends_in_the_label(rows):
    assert reasoning(Entities(("sv660n",), ("e100",)), Entities(("sv660",), ("e101.1",))) == (
        "1. question实体：产品-sv660n，故障码-e100\n2. chunk实体：产品-sv660，故障码-e101.1\n"
        "3. 判断：主型号sv660相同，主码e100与e101不同，不对齐\n4. 理由：产品一致，但故障码不一致"
    )
    for row in rows:
        steps, said = TAG.fullmatch(row["llm_analysis"]).groups()
        first, second, third, fourth = steps.split("\n")
        assert [step[:3] for step in (first, second, third, fourth)] == ["1. ", "2. ", "3. ", "4. "]
        assert read(first.removeprefix("1. question实体")) == read(row["question"])
        assert read(second.removeprefix("2. chunk实体")) == read(row["chunk"])
        assert third.endswith(f"，{said}")
        assert len(re.findall(r"[一-鿿]", steps)) <= 90


def test_it_has_over_1200_rows_about_half_of_them_aligned_and_no_pair_twice(rows):
    assert len(rows) >= 1200
    assert 0.45 < np.mean([label(row) == "对齐" for row in rows]) < 0.55
    assert len({(row["question"], row["chunk"]) for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    assert max(len(row["question"]) for row in rows) <= 40
    assert max(len(row["chunk"]) for row in rows) <= 120


def test_no_question_stands_in_two_families(rows):
    families = defaultdict(set)
    for row in rows:
        families[re.sub(r"\W", "", row["question"]).lower()].add(row["family"])
    assert max(map(len, families.values())) == 1
    assert len({row["family"] for row in rows}) >= 300


def test_products_and_codes_occur_under_both_labels_and_a_shared_code_does_not_tell(rows):
    seen: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for names in read(row["question"]):
            for name in names:
                seen[name].add(label(row))
    assert all(labels == {"对齐", "不对齐"} for labels in seen.values())
    near = [
        row
        for row in rows
        if label(row) == "不对齐" and set.intersection(read(row["question"])[1], read(row["chunk"])[1])
    ]
    assert len(near) > 120, "the right code of a wrong product"


def test_a_linear_model_of_n_grams_does_not_solve_it(rows, tmp_path):
    frame = pl.DataFrame(
        {
            "id": [row["id"] for row in rows],
            "family": [row["family"] for row in rows],
            "text_a": [row["question"] for row in rows],
            "text_b": [row["chunk"] for row in rows],
            "label": [int(label(row) == "对齐") for row in rows],
        }
    )
    families = np.random.default_rng(0).permutation(frame["family"].unique(maintain_order=True))
    test = frame["family"].is_in(families[: len(families) // 4].tolist())
    linear_options = {"analyzer": "char", "ngrams": [1, 3], "min_df": 2, "c": 5.0, "class_weights": "none"}
    spec = loads(json.dumps({"kind": "pair", "labels": ["0", "1"], "seed": 0, "linear": linear_options}))
    fitted = fit_logistic(spec, frame.filter(~test), frame.filter(test), tmp_path, tmp_path, tmp_path)
    assert 0.55 < fitted.history[0]["eval_accuracy"] < 0.78


def files(folder: Path, seed: int, rows: int | None) -> dict[str, list[dict]]:
    write(folder, seed, rows)
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.iterdir())}


def test_the_files_are_the_two_of_the_filter(rows, tmp_path):
    found = files(tmp_path, 42, None)
    assert list(found) == ["filtered_aligned.json", "filtered_aligned_unaligned.json"]
    for name, said in zip(found, ("对齐", "不对齐"), strict=True):
        assert {label(row) for row in found[name]} == {said}
        assert list(found[name][0]) == ["id", "family", "question", "chunk", "llm_analysis"]
    assert sum(map(len, found.values())) == len(rows)


@pytest.mark.slow
def test_the_seed_decides_the_rows_and_fewer_rows_are_the_first_families(rows, tmp_path):
    assert generate(42, None) == rows
    assert generate(43, None) != rows
    for size in (2, 101, 800):
        assert generate(42, size) == rows[:size]
        assert all(count == 4 for count in list(Counter(row["family"] for row in rows[:size]).values())[:-1])


@pytest.mark.parametrize("size", [0, -1, 10**6])
def test_a_number_of_rows_that_does_not_exist_is_an_error(size, tmp_path):
    with pytest.raises(RetuneError, match=rf"rows is {size}, .* has \d+ rows; ask for 1 to \d+"):
        write(tmp_path, 42, size)
    with pytest.raises(RetuneError, match="rows is 1, too few for both labels"):
        write(tmp_path, 42, 1)
    assert not list(tmp_path.iterdir())
