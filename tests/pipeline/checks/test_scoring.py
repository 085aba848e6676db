"""What `resolve` makes of tasks that score and that reason, and mistakes that only these can have."""

import polars as pl
import pytest

from retune.data.kinds import pair, scoring
from retune.errors import RetuneError
from retune.evaluation import dev_metrics
from retune.llm.prompt import prompt, template
from retune.params import Params
from retune.pipeline.resolve import resolve
from tests.support.scoring_declarations import project

pytestmark = pytest.mark.slow

P, D, Q = "params.yaml", "data/catalog.yaml", "prompts/rated.yaml"


def test_a_scoring_task_and_its_models_know_scores_and_dimensions(tmp_path):
    found = resolve(project(tmp_path)).resolved
    task, model = found["tasks"]["rating"], found["models"]["rated_llm"]
    named = {"innovation": "创新性", "diversity": "多元化"}
    for part in (task, task["convert"], task["split"], task["evaluation"], task["exploration"], model):
        assert part["labels"] == ["1", "2", "3", "4", "5"]
        assert (part["scores"], list(part["dimensions"])) == ([1, 5], list(named))
    assert task["dimensions"] == named, "for the report; the other stages know dimensions by name"
    assert task["split"]["data_ratio"] == 0.5
    assert found["tasks"]["questions"]["split"]["data_ratio"] == 1.0
    assert set(task["augmentation"]) & {"swap", "synonym"} == set()
    assert "threshold" not in task["calibration"]
    assert task["calibration"]["temperature"] is True
    assert model["prompt"]["answers"] == {score: score for score in ("1", "2", "3", "4", "5")}
    assert model["prompt"]["values"] == {"dimension": named}
    assert model["prompt"]["reason"] == "\nwhy: "
    assert model["training"]["select"] == "mae"
    assert "scores" not in found["models"]["plain"]


def test_a_dimension_is_shown_to_models_as_its_text():
    values = {"dimension": {"innovation": "创新性"}}
    row = template.display_values({"document": "innovation", "dimension": "innovation"}, values)
    assert template.user("{document} {dimension}", row) == "innovation 创新性"


def test_the_llm_reads_the_text_of_a_dimension(tmp_path):
    from transformers import AutoTokenizer

    from tests.support import tiny_llm

    tokenizer = AutoTokenizer.from_pretrained(tiny_llm.tiny_llm(tmp_path))
    values = {"dimension": {"innovation": "创新性"}}
    said = {"user": "{document}：{dimension}", "answers": {"1": "1", "2": "2"}, "values": values}
    chat = prompt.prepare(tokenizer, said, ("document", "dimension"), ("1", "2"), 64)
    rows = pl.DataFrame({"document": ["甲"], "dimension": pl.Series(["innovation"], dtype=pl.Enum(["innovation"]))})
    assert "甲：创新性" in tokenizer.decode(prompt.encode(chat, rows).ids[0])


def test_a_prompt_may_show_what_a_dimension_is_judged_by(tmp_path):
    found = resolve(project(tmp_path, (Q, "reason:", "dimensions: {innovation: 创新性：专利多}\nreason:"))).resolved
    task, model = found["tasks"]["rating"], found["models"]["rated_llm"]
    assert model["prompt"]["values"] == {"dimension": {"innovation": "创新性：专利多", "diversity": "多元化"}}
    assert task["dimensions"]["innovation"] == "创新性"


def test_rows_of_a_scoring_task_keep_to_its_scores_and_dimensions():
    rows = pl.DataFrame({"document": ["甲", "乙", "丙"], "dimension": ["a", "a", "b"], "score": [1, 6, 3]})
    rows = rows.with_columns(pl.col("document").alias("id"), scoring.default_group().alias("group"))
    rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in ("split", "reasoning", "reason"))
    schema = scoring.schema(Params(scores=[1, 5], dimensions={"a": "甲"}))
    good, _ = schema.filter(rows.filter(dimension="a"), cast=True)
    assert good["id"].to_list() == ["甲"]
    assert rows.select(scoring.binned()).to_series().to_list() == ["a:1", "a:6", "b:3"]
    assert scoring.shortage({"a:1": 3, "b:1": 4}) == "all with score 1"
    assert scoring.shortage({"a:1": 3, "b:10": 4}) is None


def test_reasoning_is_passed_on_and_a_row_without_it_is_invalid(tmp_path):
    found = resolve(
        project(
            tmp_path,
            (P, "    source: sample\n", "    source: sample\n    reasoning: true\n"),
            (
                D,
                "columns: {text_a: a, text_b: b, label: label}",
                "columns: {text_a: a, text_b: b, label: l, reasoning: r}",
            ),
        )
    ).resolved
    task = found["tasks"]["questions"]
    assert task["reasoning"] is task["convert"]["reasoning"] is found["models"]["chatty"]["reasoning"] is True
    assert "reasoning" not in found["models"]["rated_llm"]
    row = {"id": "1", "group": "g", "split": None, "text_a": "a", "text_b": "b", "label": 1, "reasoning": None}
    schema = pair.schema(Params(reasoning=True))
    columns = {name: column.dtype for name, column in schema.columns().items()}
    valid = [schema.is_valid(pl.DataFrame([row | {"split": split}], columns)) for split in (None, "train", "test")]
    assert valid == [False, False, True]
    assert pair.schema(Params()).columns()["reasoning"].nullable is True


def test_dev_metrics_are_those_of_the_expected_score():
    import numpy as np

    probabilities = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        found = dev_metrics.of("scoring", np.array([0, 2, 0]), np.log(probabilities))
    assert found["mae"] == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert found["loss"] == pytest.approx(-np.log([0.5, 0.75, 1.0]).mean())
    assert found["spearman"] == pytest.approx(0.8660254)


MISTAKES = {
    "no scores": ((P, "    scores: [1, 5]\n", ""), "tasks.rating: kind scoring needs `scores`"),
    "no dimensions": (
        (P, "    dimensions: {innovation: 创新性, diversity: 多元化}\n", ""),
        "tasks.rating: kind scoring needs `dimensions`",
    ),
    "turned round": ((P, "[1, 5]", "[5, 1]"), "tasks.rating.scores: is [5, 1]; the first must be below the second"),
    "one score": ((P, "[1, 5]", "[5, 5]"), "the first must be below the second"),
    "too many": ((P, "[1, 5]", "[1, 201]"), "tasks.rating.scores: has 201 scores; at most 200 are possible"),
    "three numbers": ((P, "[1, 5]", "[1, 2, 5]"), "tasks.rating.scores"),
    "text twice": (
        (P, "diversity: 多元化", "diversity: 创新性"),
        "tasks.rating.dimensions.innovation: `创新性` is the text",
    ),
    "unknown dimension of a prompt": (
        (Q, "reason:", "dimensions: {inovation: 专利多}\nreason:"),
        "prompts/rated.yaml:2: dimensions.inovation: there is no dimension `inovation` of task rating; did you mean",
    ),
    "empty dimension of a prompt": ((Q, "reason:", "dimensions: {innovation: ''}\nreason:"), "innovation: is empty"),
    "no text": ((P, "diversity: 多元化", "diversity: ''"), "tasks.rating.dimensions.diversity: is empty"),
    "no name": ((P, "diversity: 多元化", "a.b: 多元化"), "is no name: letters, digits, _ and - only"),
    "learner": (
        (P, "learner: linear, base: scratch}\n  rated_llm", "learner: embedder, base: encoder}\n  rated_llm"),
        "models.rated_linear.learner: embedder can't be trained on kind scoring; take one of linear, llm",
    ),
    "augmentation": (
        (P, "    source: rated\n", "    source: rated\n    augmentation: {delete: 0.5}\n"),
        "tasks.rating.augmentation.delete: has no meaning for a task of kind scoring",
    ),
    "reasoning of another kind": (
        (P, "    source: rated\n", "    source: rated\n    reasoning: true\n"),
        "tasks.rating.reasoning: is for kind pair, and rating is of kind scoring",
    ),
    "reasoning that no table has": (
        (P, "    source: sample\n", "    source: sample\n    reasoning: true\n"),
        "sample.tables.0.columns: has no `reasoning`, which task questions needs with `reasoning: true`",
    ),
    "swap of texts that were reasoned about": (
        (P, "    source: sample\n", "    source: sample\n    reasoning: true\n    augmentation: {swap: 0.5}\n"),
        "tasks.questions.augmentation.swap: the reasoning of a row speaks of its first and second text",
    ),
    "scores of another kind": (
        (P, "    source: sample\n", "    source: sample\n    scores: [1, 2]\n"),
        "tasks.questions.scores: only kind scoring has scores, and questions is of kind pair",
    ),
    "share": ((P, "data_ratio: 0.5", "data_ratio: 0.0"), "tasks.rating.data_ratio"),
    "metric": (
        (P, "base: llm, training: {thinking: false}}", "base: llm, training: {select: f1}}"),
        "is f1, which kind scoring has not; take loss, mae, spearman or auto",
    ),
    "answers": ((Q, "reason:", "answers: {'1': bad}\nreason:"), "answers: lacks `2`, `3`, `4`, `5`"),
    "reason of another kind": (
        ("prompts/questions.yaml", "answers:", "reason: ', '\nanswers:"),
        "prompts/questions.yaml:3: reason: only rows of kind scoring have a reason",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_place(name, tmp_path):
    edit, said = MISTAKES[name]
    with pytest.raises(RetuneError) as error:
        resolve(project(tmp_path, edit))
    assert said in str(error.value)
