"""What models that reason may say in params.yaml: thinking, generation, dimensions, a curriculum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retune.errors import RetuneError
from tests.support.declarations import resolved, write

pytestmark = pytest.mark.slow

TASKS = (
    "params.yaml",
    "    prompt: questions\nmodels:",
    """    prompt: questions
    reasoning: true
  plainly:
    kind: pair
    source: sample
    prompt: questions
  risk:
    kind: scoring
    source: companies
    scores: [1, 10]
    dimensions: {innovation: 创新性, growth: 成长性}
    prompt: risk
models:
  scores: {task: risk, learner: llm, base: llm%s}
  other: {task: plainly, learner: llm, base: llm%s}
""",
)
CATALOG = (
    "data/catalog.yaml",
    "columns: {text_a: a, text_b: b, label: label}\nfiles:",
    """columns: {text_a: a, text_b: b, label: label, reasoning: why}
companies:
  kind: sample
  license: Apache-2.0
  generator: similarity
  tables:
    - file: rows.jsonl
      columns: {document: a, dimension: b, score: c}
files:""",
)


def project(folder: Path, scores: str = "", other: str = "") -> Path:
    file, old, new = TASKS
    write(folder, (file, old, new % (scores, other)), CATALOG)
    (folder / "prompts/risk.yaml").write_text('user: "{dimension} {document}"\nreason: "\\n因为"\n', encoding="utf-8")
    return folder


def test_models_that_reason_get_generation_beside_their_section(tmp_path: Path) -> None:
    found = resolved(project(tmp_path))
    assert found["models"]["chatty"]["training"]["thinking"] is True
    assert found["models"]["scores"]["training"]["thinking"] is True
    assert found["models"]["chatty"]["training"]["select"] == "loss"
    assert not {"thinking", "answer_weight"} & set(found["models"]["other"]["training"])
    assert "thinking" not in found["models"]["cross"]["training"]
    assert found["models"]["other"]["training"]["select"] == "auc"
    assert set(found["predictions"]) == set(found["models"])
    assert not {"other", "plain"} & {name for name, given in found["predictions"].items() if "generation" in given}
    assert found["predictions"]["scores"]["generation"]["max_new_tokens"] == 256
    assert all("generation" not in model for model in found["models"].values()), "what trains nothing is not there"


def test_a_change_of_generation_reaches_no_training(tmp_path: Path) -> None:
    before = resolved(project(tmp_path / "a"))
    after = resolved(project(tmp_path / "b", scores=", generation: {max_new_tokens: 40, thinking: false}"))
    assert before["models"] == after["models"]
    assert after["predictions"]["scores"]["generation"] == {"thinking": False}, "the length of no text has an effect"
    assert before["predictions"]["chatty"] == after["predictions"]["chatty"]


def test_a_model_that_is_not_taught_to_think_does_not(tmp_path: Path) -> None:
    found = resolved(project(tmp_path, scores=", training: {thinking: false}"))
    assert found["models"]["scores"]["training"]["thinking"] is False
    assert found["models"]["scores"]["training"]["select"] == "mae"
    assert found["predictions"]["scores"]["generation"]["thinking"] is False


def test_a_curriculum_is_resolved_with_its_stages(tmp_path: Path) -> None:
    first = "{name: basic, dimensions: [growth], epochs: 2, data_ratio: 0.3}"
    second = "{name: all, dimensions: [growth, innovation]}"
    found = resolved(project(tmp_path, scores=f", curriculum: [{first}, {second}]"))["models"]["scores"]
    assert found["curriculum"] == [
        {"name": "basic", "dimensions": ["growth"], "epochs": 2.0, "data_ratio": 0.3},
        {"name": "all", "dimensions": ["growth", "innovation"], "epochs": 1.0, "data_ratio": 1.0},
    ]
    assert found["training"]["epochs"] == 3
    one = resolved(project(tmp_path / "one", scores=", dimensions: [growth]"))["models"]["scores"]
    assert one["train_dimensions"] == ["growth"]
    assert one["dimensions"] == ["innovation", "growth"]


STAGE = "curriculum: [{{name: basic, dimensions: [{}]}}]"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"other": ", generation: {top_p: 0.9}"}, "models.other.generation.*task plainly has no reasoning"),
        ({"other": ", training: {thinking: false}"}, "models.other.training.thinking.*has no reasoning"),
        ({"other": ", training: {answer_weight: 5}"}, "models.other.training.answer_weight.*has no reasoning"),
        ({"other": ", curriculum: [{name: a, dimensions: [growth]}]"}, "models.other.curriculum.*kind scoring"),
        ({"scores": ", training: {select: mae}"}, "select.*measured on dev by loss"),
        ({"scores": ", training: {thinking: false}, generation: {thinking: true}"}, "not taught to think"),
        ({"scores": ", generation: {samples: 3}"}, "generation.samples.*sample_rows"),
        ({"scores": ", generation: {sample_rows: 3}"}, "generation.sample_rows.*not read without"),
        ({"scores": ", generation: {samples: 3, sample_rows: 2, thinking: false}"}, "nothing is generated"),
        ({"scores": ", generation: {max_tokens: 3}"}, "no key `max_tokens`.*max_new_tokens"),
        ({"scores": ", " + STAGE.format("grow")}, "no dimension `grow` in task risk; did you mean `growth`"),
        ({"scores": ", " + STAGE.format("")}, "dimensions"),
        ({"scores": ", " + STAGE.format("growth, growth")}, "`growth` occurs twice"),
        (
            {"scores": ", dimensions: [growth], " + STAGE.format("innovation")},
            "not among the `dimensions` of the model",
        ),
        ({"scores": ", training: {epochs: 2}, " + STAGE.format("growth")}, "training.epochs.*each stage"),
        (
            {"scores": ", training: {checkpoint: 20}, " + STAGE.format("growth")},
            "training.checkpoint.*begins at the best",
        ),
        ({"scores": ", curriculum: []"}, "curriculum"),
        ({"scores": ", dimensions: [grwth]"}, "no dimension `grwth`"),
    ],
)
def test_what_no_model_reads_is_an_error(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RetuneError, match=said):
        resolved(project(tmp_path, **change))
