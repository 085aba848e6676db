"""What a sweep may try is known before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.sweep import space
from retune.sweep.space import Dimension
from tests.support import declarations, scoring_declarations


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return declarations.write(tmp_path_factory.mktemp("space"))


def test_lists_are_choices_and_dots_are_ranges():
    assert space.parse(["lora.r=8,16,64", "training.learning_rate=1e-5..1e-4", "training.epochs=1..4"]) == [
        Dimension("lora.r", (8, 16, 64)),
        Dimension("training.learning_rate", (), 1e-5, 1e-4, log=True),
        Dimension("training.epochs", (), 1, 4, whole=True),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lora.r", "is not KEY=VALUES"),
        ("lora.r=8", "two values or more"),
        ("lora.r=8,8", "each once"),
        ("lora.r=9..8", "to a greater one"),
        ("lora.r=a..b", "from a number"),
        ("seed=1,2", "is not KEY=VALUES"),
        ("lora.r=8,", "is no single value"),
    ],
)
def test_what_is_no_list_and_no_range_is_told(text: str, said: str):
    with pytest.raises(RetuneError, match=said):
        space.parse([text])


@pytest.mark.parametrize(
    ("model", "texts", "said"),
    [
        ("chaty", ["lora.r=8,16"], "did you mean `chatty`"),
        ("chatty", ["lora.rank=8,16"], "rank"),
        ("chatty", ["lora.r=0,16"], "with lora.r=0: .*r"),
        ("chatty", ["lora.r=0.5..8.0"], "with lora.r=0.5"),
        ("plain", ["training.epochs=1,2"], "training"),
        ("chatty", ["training.select=loss,auc"], "changes what is measured"),
        ("cross", ["loss.name=focal,cross_entropy", "loss.epsilon=0.5..2.0"], "loss.epsilon has no effect"),
        ("untuned", ["training.learning_rate=1e-5..1e-4"], "no effect"),
    ],
)
def test_what_cannot_be_tried_is_refused_by_name(folder: Path, model: str, texts: list[str], said: str):
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(RetuneError, match=f"(?s){said}"):
        space.check(folder, model, space.parse(texts))
    assert (folder / "params.yaml").read_bytes() == before


def test_a_key_that_counts_beside_one_choice_alone_is_tried(folder: Path):
    space.check(folder, "cross", space.parse(["loss.name=cross_entropy,focal", "loss.gamma=1.0..3.0"]))


def test_a_model_with_a_curriculum_is_tried_by_the_keys_that_its_stages_share(tmp_path: Path):
    entry = "{name: basic, dimensions: [innovation], epochs: 1, data_ratio: 0.5}"
    edit = ("params.yaml", "training: {thinking: false}", f"training: {{thinking: true}}, curriculum: [{entry}]")
    folder = scoring_declarations.project(tmp_path, edit)
    spec = space.check(folder, "rated_llm", space.parse(["lora.r=8,16", "training.learning_rate=1e-5..1e-4"]))
    assert spec["curriculum"]
    with pytest.raises(RetuneError, match="epochs"):  # each stage has its own
        space.check(folder, "rated_llm", space.parse(["training.epochs=1,2"]))
