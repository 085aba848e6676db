"""The typed shape of `params.yaml` and of the prompts: every key, its type, its limits and its default.

Only `resolve` and the command line validate with these models. Stages read the resolved file, which has passed them, so
a module imports this one under `TYPE_CHECKING` only; its edits then rebuild nothing unless the resolved values change.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from retune.pipeline.schema.catalog import Strict, Unit
from retune.pipeline.schema.endpoint import Api
from retune.pipeline.schema.export import Export
from retune.pipeline.schema.model import (
    Bm25,
    CurriculumStage,
    Generation,
    Hardware,
    Linear,
    Lora,
    Loss,
    Quantization,
    RankingLoss,
    Training,
)
from retune.pipeline.schema.task import Abstain, Augmentation, Calibration, Evaluation, Exploration, Split

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$", description="letters, digits, _ and -; no dots")]
Learner = Literal["linear", "encoder", "embedder", "llm", "api"]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=100)]
Kind = Literal["pair", "classification", "ranking", "scoring"]

SECTIONS: dict[str, tuple[str, ...]] = {
    "linear": ("linear",),
    "encoder": ("training", "loss", "hardware"),
    "embedder": ("training", "loss", "hardware"),
    "llm": ("training", "lora", "quantization", "hardware"),
    "api": ("api",),
}
"""The default sections of `params.yaml` that each learner reads; a model gets these and may override no other."""

RANKING: dict[str, tuple[str, ...]] = {
    "linear": ("bm25",),
    "encoder": ("training", "ranking_loss", "lora", "hardware"),
    "embedder": ("training", "ranking_loss", "lora", "hardware"),
    "llm": SECTIONS["llm"],
}
"""The same for models of kind `ranking`."""


def sections(learner: str, kind: str | None) -> tuple[str, ...]:
    """The default sections that a learner reads for a task kind; see `writes` for `generation`."""
    return (RANKING if kind == "ranking" else SECTIONS)[learner]


def writes(learner: str, task: Task | None) -> bool:
    """Whether models of this learner write reasoning for the task's rows, and so read the section `generation`."""
    return bool(learner == "llm" and task and reasons(task))


def reasons(task: Task) -> bool:
    """Whether rows of the task may come with reasoning or a reason."""
    return task.reasoning or task.kind == "scoring"


class Chain(Strict):
    """A query's best documents by one model, put into a new order by another; the others stay below them."""

    first: Name = Field(description="model that finds the candidates")
    second: Name = Field(description="model that puts them into order")
    candidates: Annotated[int, Field(ge=1)] = Field(description="documents of a query that the second model scores")


def _written_down(labels: object) -> object:
    if labels == AUTO:
        raise ValueError(
            "`auto` stands for the labels that the data has: `retune check --write` writes them in its place"
        )
    return labels


AUTO = "auto"
Labels = Annotated[list[str], BeforeValidator(_written_down)]


class Task(Strict):
    """One task: what its rows mean and where they come from."""

    kind: Kind = Field(description="what its rows are")
    source: str = Field(description="entry of data/catalog.yaml")
    labels: Labels | None = Field(
        None,
        description="classification: the labels, 2 to 200; a row has one of them. `auto`: `retune check --write` "
        "writes those of the data in its place, sorted",
    )
    reasoning: bool = Field(False, description="pair: rows come with the reasoning for their label; models may think")
    scores: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None, description="scoring: the lowest and the highest score, whole numbers, at most 200 scores"
    )
    dimensions: Annotated[dict[str, str], Field(min_length=1)] | None = Field(
        None, description="scoring: name of a dimension -> the text that models are shown for it"
    )
    prompt: Name | None = Field(None, description="prompts/NAME.yaml, for the LLM")
    max_rejects: Unit = Field(0.01, description="share of rejected rows above which convert stops")
    size: Annotated[int, Field(ge=1)] | None = Field(None, description="rows of a generated sample; default: its own")
    data_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of the training groups that are kept, by hash: a smaller share is a part of a larger one",
    )
    chains: dict[Name, Chain] = Field(
        default_factory=dict,
        description="ranking: name -> two models, one after the other, compared as one more system",
    )
    abstain: Abstain | None = Field(
        None, description="classification, pair: models answer only what they are sure of; null: they answer all"
    )
    split: dict[str, Any] = Field(default_factory=dict)
    exploration: dict[str, Any] = Field(default_factory=dict)
    augmentation: dict[str, Any] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)


class Teacher(Strict):
    """Another model of the same task, whose calibrated answers a model learns beside the labels."""

    model: Name = Field(description="the teacher: another entry of `models`, of the same task")
    weight: Unit = Field(
        0.5, description="share of the teacher's answers in the loss; the labels have the rest; 0: no teacher"
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0,
        description="labels: probabilities that are learned are softened by it (above 1 small ones count more), the "
        "student's likewise",
    )
    unlabelled_rows: Annotated[int, Field(ge=0)] | None = Field(
        None, description="rows of the source's `unlabelled` files that are learned from, chosen by hash; null: all"
    )


class Model(Strict):
    """One model: a learner on a task, from a base; its own sections beat the defaults key by key."""

    task: Name = Field(description="an entry of `tasks`")
    learner: Learner = Field(description="how it is trained")
    base: Name = Field(description="a role under `bases`")
    seed: int | None = Field(None, description="default: the project's")
    seeds: Seeds | None = Field(
        None,
        description="trained once for each: with the first under its own name, with 43 as a model NAME-43; tables show "
        "mean and spread; default: the project's, where a seed changes the model",
    )
    ensemble: Literal["none", "mean"] = Field(
        "none", description="mean: the mean of the answers over `seeds` is one more model, NAME-mean"
    )
    teacher: Name | Teacher | None = Field(
        None, description="a model of the same task whose calibrated answers are learned; a name is short for `model`"
    )
    augmented: bool = Field(True, description="false: trained on the original rows alone, none altered and no copies")
    linear: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    curriculum: Annotated[list[CurriculumStage], Field(min_length=1)] | None = Field(
        None, description="llm of kind scoring: stages of the training, one after the other"
    )
    dimensions: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="llm of kind scoring: the dimensions it is trained on; default: all"
    )
    generation: dict[str, Any] | None = None
    bm25: dict[str, Any] | None = None
    loss: dict[str, Any] | None = None
    ranking_loss: dict[str, Any] | None = None
    lora: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    api: dict[str, Any] | None = None
    hardware: dict[str, Any] | None = None


class Prompt(Strict):
    """A prompt template (prompts/NAME.yaml). `{column}` in `user` is replaced by the row's column, nothing else is.

    Classification: `{labels}` in `system` is replaced by a line for each label: its answer, and the label where that is
    another text.
    """

    system: str | None = Field(None, description="system message")
    user: str = Field(description="user message; `{column}` is replaced")
    answers: dict[str, str] | None = Field(
        None,
        description="label -> the text that the LLM answers with; default, but for pair and ranking: the label",
    )
    reason: str | None = Field(
        None,
        description="scoring: text between the score and the row's `reason` in what the LLM writes; null: the score "
        "stands alone",
    )
    dimensions: dict[str, str] | None = Field(
        None,
        description="scoring: dimension -> what `{dimension}` shows, say its criteria; default: its text in the task's "
        "`dimensions`",
    )


class Gate(Strict):
    """What `retune gate` forgives the models of a task; it is no part of any build."""

    metric: str | None = Field(None, description="metric of the test split that decides; null: the primary one")
    worse_by: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="tolerance in units of the metric: only a loss that is shown to be greater is a regression; 0: any "
        "loss that is shown",
    )


class Params(Strict):
    """`params.yaml`."""

    seed: int = Field(0, description="of sampling, training and bootstrap")
    seeds: Seeds = Field(
        default_factory=list, description="of every model that names none and that a seed changes; [] trains it once"
    )
    strict: bool = Field(
        True,
        description="a stage that uses what it does not declare (a file, module, variable, key) fails; false: warns",
    )
    bases: dict[Name, str] = Field(description="role -> entry of models/catalog.yaml; only these are fetched")
    tasks: dict[Name, Task] = Field(description="name -> task")
    models: dict[Name, Model] = Field(description="name -> model")
    exports: dict[Name, Export] = Field(
        default_factory=dict, description="name -> model that is handed on as a folder exports/NAME"
    )
    gate: dict[Name, Gate] = Field(
        default_factory=dict, description="task -> what `retune gate` forgives; default: primary metric, no tolerance"
    )
    split: Split = Field(default_factory=Split)
    exploration: Exploration = Field(default_factory=Exploration)
    augmentation: Augmentation = Field(default_factory=Augmentation)
    calibration: Calibration = Field(default_factory=Calibration)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    linear: Linear = Field(default_factory=Linear)
    bm25: Bm25 = Field(default_factory=Bm25)
    training: Training = Field(default_factory=Training)
    loss: Loss = Field(default_factory=Loss)
    ranking_loss: RankingLoss = Field(default_factory=RankingLoss)
    lora: Lora = Field(default_factory=Lora)
    quantization: Quantization = Field(default_factory=Quantization)
    generation: Generation = Field(default_factory=Generation)
    api: Api = Field(default_factory=Api)
    hardware: Hardware = Field(default_factory=Hardware)

    @field_validator("bases", "tasks", "models")
    @classmethod
    def _not_empty(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("at least one entry is needed")
        return value
