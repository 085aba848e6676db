"""`auto` in the section `training`: a number in params-resolved.json, by learner and kind; what a user writes wins."""

from __future__ import annotations

import pytest

from retune.pipeline import auto
from tests.support.declarations import resolved, write


def spec(learner: str, kind: str, lora: str | None = None, **training: object) -> dict:
    found = {"learner": learner, "kind": kind, "training": {"learning_rate": "auto", "head": "auto"} | training}
    return found | ({"lora": {"method": lora}} if lora else {})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (spec("encoder", "classification"), 1e-4), (spec("encoder", "pair"), 1e-4),
        (spec("encoder", "ranking", "full"), 1e-4), (spec("encoder", "ranking", "lora"), 2e-4),
        (spec("embedder", "pair"), 5e-5), (spec("embedder", "ranking", "full"), 5e-5),
        (spec("embedder", "ranking", "dora"), 2e-4),
        (spec("llm", "pair", "lora"), 2e-4), (spec("llm", "scoring", "full"), 2e-5),
        (spec("llm", "ranking", "rslora"), 2e-4), (spec("llm", "classification", "full", learning_rate=7e-6), 7e-6),
    ],
)  # fmt: skip
def test_each_learner_and_kind_has_its_rate(given, wanted):
    assert auto.training(given)["learning_rate"] == wanted


def test_the_resolved_file_holds_what_auto_comes_to_and_what_a_user_says(tmp_path):
    rate = "batch_size: 8, learning_rate: 3e-5"
    models = resolved(write(tmp_path, ("params.yaml", rate, "batch_size: 8")))["models"]
    assert models["cross"]["training"]["learning_rate"] == 1e-4
    assert models["cross"]["training"]["head"] == "probe"
    assert models["chatty"]["training"]["learning_rate"] == 2e-4
    assert "head" not in models["chatty"]["training"]
    (tmp_path / "own").mkdir()
    own = (
        ("params.yaml", rate, f"{rate}, head: random"),
        ("params.yaml", "{epochs: 2}", "{epochs: 2, learning_rate: 1}"),
    )
    models = resolved(write(tmp_path / "own", *own))["models"]
    assert models["cross"]["training"]["learning_rate"] == 3e-5
    assert models["cross"]["training"]["head"] == "random"
    assert models["chatty"]["training"]["learning_rate"] == 1
