"""A judge of reasons in params.yaml: only tasks with reasons may have one, and it reaches nothing but `evaluate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.pipeline import fingerprint
from retune.pipeline.reads import parts
from retune.pipeline.resolve import resolve
from tests.support.declarations import ROOT, replace, write
from tests.support.scoring_declarations import project

pytestmark = pytest.mark.slow

P, D = "params.yaml", "data/catalog.yaml"

SAID = "{url: 'http://localhost:8000/v1', model: qwen3-8b, rows: 20}"


def of_task(source: str, said: str = SAID) -> tuple[str, str, str]:
    return (P, f"    source: {source}\n", f"    source: {source}\n    evaluation: {{judge: {said}}}\n")


def by_default(said: str = SAID) -> tuple[str, str, str]:
    return (P, "lora: {r: 16}\n", f"lora: {{r: 16}}\nevaluation: {{judge: {said}}}\n")


def test_there_is_no_judge_unless_one_is_named(tmp_path: Path) -> None:
    found = resolve(project(tmp_path)).resolved["tasks"]
    assert found["rating"]["evaluation"]["judge"] is None
    assert "judge" not in found["questions"]["evaluation"]


def test_a_judge_reaches_evaluate_and_nothing_that_costs_a_model(tmp_path: Path) -> None:
    root = project(tmp_path)
    plain = resolve(root).resolved
    replace(root, *of_task("rated"))
    found = resolve(root).resolved
    judge = found["tasks"]["rating"]["evaluation"]["judge"]
    assert (judge["url"], judge["model"], judge["rows"]) == ("http://localhost:8000/v1", "qwen3-8b", 20)
    assert (judge["gold"], judge["concurrency"], judge["max_tokens"]) == (True, 8, 1024)
    assert not {"key", "api_key", "logprobs"} & set(judge)
    changed = {
        f"{stage}.{name}"
        for stage, instances in parts(plain).items()
        if stage != "report"
        for name in instances
        if instances[name] != parts(found)[stage][name]
    }
    assert changed == {"evaluate.rated_linear", "evaluate.rated_llm"}
    assert plain["code"] == found["code"]


def test_a_default_judge_is_for_the_tasks_that_have_reasons(tmp_path: Path) -> None:
    found = resolve(project(tmp_path, by_default())).resolved["tasks"]
    assert found["rating"]["evaluation"]["judge"]["model"] == "qwen3-8b"
    assert "judge" not in found["questions"]["evaluation"]


def test_a_pair_with_reasoning_may_have_one(tmp_path: Path) -> None:
    reasoned = (
        P,
        "    source: sample\n",
        f"    source: sample\n    reasoning: true\n    evaluation: {{judge: {SAID}}}\n",
    )
    given = (D, "label: label}\nfiles:", "label: label, reasoning: why}\nfiles:")
    found = resolve(write(tmp_path, reasoned, given)).resolved["tasks"]
    assert found["questions"]["evaluation"]["judge"]["rows"] == 20


def test_the_text_that_a_judge_is_given_is_part_of_evaluate_and_of_no_training() -> None:
    code = fingerprint.Code(ROOT)
    assert "retune.evaluation.judge" in code.closure(fingerprint.roots("evaluate", {"kind": "scoring"}))
    assert "retune.evaluation.judge" not in code.closure(
        fingerprint.roots("train", {"kind": "scoring", "learner": "llm"})
    )
    assert [file.name for file in code.data_files["retune.evaluation.judge"]] == ["judge.prompt.txt"]


@pytest.mark.parametrize("kind", ["pair", "classification"])
def test_a_task_without_reasons_is_refused(kind: str, tmp_path: Path) -> None:
    edits = [of_task("sample")]
    if kind == "classification":
        edits += [(P, "kind: pair", "kind: classification\n    labels: [a, b]")]
    with pytest.raises(RetuneError) as error:
        resolve(write(tmp_path, *edits))
    wanted = f"tasks.questions.evaluation.judge: grades reasons, and the rows of questions (kind {kind}) have none"
    assert str(error.value).count("evaluation.judge") == 1
    assert wanted in str(error.value)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("{model: m}", "tasks.rating.evaluation.judge.url: is missing"),
        ("{url: 'http://h/v1'}", "tasks.rating.evaluation.judge.model: is missing"),
        ("{url: 'http://key@h/v1', model: m}", "judge.url: is the text 'http://key@h/v1', but must match"),
        ("{url: 'http://h/v1', model: m, rows: 0}", "judge.rows: is 0, but must be greater than or equal to 1"),
        ("{url: 'http://h/v1', modle: m}", "did you mean `model`"),
        ("{url: 'http://h/v1', model: m, logprobs: auto}", "tasks.rating.evaluation.judge.logprobs: there is no key"),
    ],
)
def test_what_is_wrong_in_a_judge_is_said_with_its_place(said: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RetuneError) as error:
        resolve(project(tmp_path, of_task("rated", said)))
    assert sentence in str(error.value)
