"""The typed shape of `params.yaml` and of the prompts: every key, its type, its limits and its default.

Only `resolve` and the command line validate with these models. Stages read the resolved file, which has passed them, so
a module imports this one under `TYPE_CHECKING` only; its edits then rebuild nothing unless the resolved values change.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from retune.catalog_schema import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$", description="letters, digits, _ and -; no dots")]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Learner = Literal["linear", "encoder", "embedder", "llm"]
Kind = Literal["pair"]

SECTIONS: dict[str, tuple[str, ...]] = {
    "linear": ("linear",),
    "encoder": ("training", "loss", "hardware"),
    "embedder": ("training", "loss", "hardware"),
    "llm": ("training", "lora", "quantization", "hardware"),
}
"""The default sections of `params.yaml` that each learner reads; a model gets these and may override no other."""


class Split(Strict):
    """Shares of the groups; the rest is train. Official splits of a source stay as they are."""

    dev: Unit = Field(0.1, description="share for early stopping and the choice of the checkpoint")
    calibration: Unit = Field(0.15, description="share for threshold and temperature")
    test: Unit = Field(0.25, description="share that is reported and never used to choose")
    seed: int = Field(0, description="another seed deals the groups anew")

    @model_validator(mode="after")
    def _something_left(self) -> Split:
        if self.dev + self.calibration + self.test >= 1:
            raise ValueError("dev + calibration + test must stay below 1, the rest is train")
        return self


class Augmentation(Strict):
    """Share of the training rows of each class that get one more, altered row by each method."""

    swap: dict[str, Unit] = Field(default_factory=dict, description="text_a and text_b exchanged; share per label")
    delete: dict[str, Unit] = Field(default_factory=dict, description="characters deleted at random (EDA)")
    exchange: dict[str, Unit] = Field(default_factory=dict, description="neighbouring characters exchanged (EDA)")
    transitive: Unit = Field(0.0, description="share of a~b, b~c inside one group that give a~c")
    strength: Unit = Field(0.1, description="share of the characters that delete and exchange touch")
    seed: int = Field(0, description="another seed alters other rows")


class Calibration(Strict):
    """What is fitted on the calibration split."""

    threshold: Literal["f1", "accuracy", "cost"] = Field(
        "f1", description="what the threshold of the positive class optimises"
    )
    cost_false_positive: Annotated[float, Field(ge=0)] = Field(1.0, description="for `threshold: cost`")
    cost_false_negative: Annotated[float, Field(ge=0)] = Field(1.0, description="for `threshold: cost`")
    temperature: bool = Field(True, description="fit a temperature to the probabilities")


class Evaluation(Strict):
    """How the test split is measured."""

    bootstrap: Annotated[int, Field(ge=100)] = Field(1000, description="resamples of the groups, for the intervals")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="of the intervals")
    errors: Annotated[int, Field(ge=0)] = Field(20, description="worst errors listed in the report")


class Training(Strict):
    """Optimisation. `epochs: 0` keeps the untuned checkpoint."""

    epochs: Annotated[float, Field(ge=0)] = Field(
        1.0, description="passes over the training rows; 0: the untuned checkpoint"
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(32, description="rows in one forward pass")
    gradient_accumulation: Annotated[int, Field(ge=1)] = Field(1, description="forward passes per optimiser step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(3e-5, description="highest rate of the schedule (AdamW)")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="of the learning rate after the warm-up"
    )
    warmup_ratio: Unit = Field(0.1, description="share of the steps in which the rate rises from 0")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of AdamW; not on biases and norms")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="longer gradients are clipped to this norm")
    max_length: Annotated[int, Field(ge=8)] = Field(128, description="tokens; longer inputs are cut and counted")
    max_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="training rows used, chosen by hash")
    dev_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="dev rows used at each evaluation")
    eval_steps: Annotated[int, Field(ge=1)] = Field(50, description="optimiser steps between evaluations on dev")
    patience: Annotated[int, Field(ge=0)] = Field(3, description="evaluations without gain before the stop; 0: never")
    select: Literal["loss", "auc", "f1", "accuracy"] = Field("auc", description="dev metric that picks the checkpoint")
    packed_tokens: Annotated[int, Field(ge=64)] = Field(
        4096, description="llm: distinct tokens of one forward pass; a larger batch runs in several, with one gradient"
    )
    freeze_embeddings: bool = Field(True, description="encoder and embedder: word embeddings stay as pretrained")
    gradient_checkpointing: bool = Field(False, description="less memory, about a third slower")


class Loss(Strict):
    """Loss of encoder and embedder, with its regularisers."""

    name: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="focal turns from easy rows to hard ones"
    )
    gamma: Annotated[float, Field(ge=0)] = Field(2.0, description="of the focal loss (Lin et al. 2017)")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: inverse to the frequency of the class"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the target given to the other class"
    )
    r_drop: Annotated[float, Field(ge=0)] = Field(0.0, description="weight of R-Drop's KL term; 0: off")
    adversarial: Literal["none", "fgm", "pgd"] = Field("none", description="training against attacks on the embeddings")
    epsilon: Annotated[float, Field(gt=0)] = Field(1.0, description="radius of the attack on the word embeddings")
    pgd_steps: Annotated[int, Field(ge=1)] = Field(3, description="steps of one PGD attack")
    pgd_step_size: Annotated[float, Field(gt=0)] = Field(0.3, description="length of a PGD step; at most epsilon")


class Lora(Strict):
    """The adapter of the LLM; `method: full` trains every weight instead."""

    method: Literal["lora", "dora", "rslora", "full"] = Field("lora", description="kind of adapter; full: no adapter")
    r: Annotated[int, Field(ge=1)] = Field(16, description="rank")
    alpha: Annotated[float, Field(gt=0)] = Field(
        32, description="scale; the update is multiplied by alpha / r (rslora: alpha / sqrt r)"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="on the input of the adapter")
    targets: str | list[str] = Field("all-linear", description="`all-linear` or module names")


class Quantization(Strict):
    """Precision of the LLM's frozen weights: 16 (or 32), 8 or 4 bits (nf4, bitsandbytes)."""

    bits: Literal[16, 8, 4] = Field(16, description="16: not quantised")
    double: bool = Field(True, description="4-bit: quantise the quantisation constants too")


class Linear(Strict):
    """TF-IDF over character n-grams and a logistic regression."""

    ngrams: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] = Field(
        [1, 3], description="shortest and longest n-gram of characters"
    )
    min_df: Annotated[int, Field(ge=1)] = Field(2, description="an n-gram in fewer rows is ignored")
    c: Annotated[float, Field(gt=0)] = Field(0.3, description="inverse strength of the L2 penalty")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: inverse to the frequency of the class"
    )

    @field_validator("ngrams")
    @classmethod
    def _short_to_long(cls, value: list[int]) -> list[int]:
        if value[0] > value[1]:
            raise ValueError(f"is {value}, but the first length must not exceed the second")
        return value


class Hardware(Strict):
    """Where and how a model runs; `auto` chooses, and prints what it chose and why."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model runs")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of weights and activations"
    )
    attention: Literal["auto", "eager", "sdpa", "flex_attention", "flash_attention_2"] = Field(
        "auto", description="implementation of attention"
    )
    threads: Annotated[int, Field(ge=0)] = Field(0, description="processor threads; 0: one per core")


class Task(Strict):
    """One task: what its rows mean and where they come from."""

    kind: Kind = Field(description="what its rows are")
    source: str = Field(description="entry of data/catalog.yaml")
    prompt: Name | None = Field(None, description="prompts/NAME.yaml, for the LLM")
    max_rejects: Unit = Field(0.01, description="share of rejected rows above which convert stops")
    size: Annotated[int, Field(ge=1)] | None = Field(None, description="rows of a generated sample; default: its own")
    split: dict[str, Any] = Field(default_factory=dict)
    augmentation: dict[str, Any] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)


class Model(Strict):
    """One model: a learner on a task, from a base; its own sections beat the defaults key by key."""

    task: Name = Field(description="an entry of `tasks`")
    learner: Learner = Field(description="how it is trained")
    base: Name = Field(description="a role under `bases`")
    seed: int | None = Field(None, description="default: the project's")
    linear: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    loss: dict[str, Any] | None = None
    lora: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    hardware: dict[str, Any] | None = None


class Prompt(Strict):
    """A prompt template (prompts/NAME.yaml). `{column}` in `user` is replaced by the row's column, nothing else is."""

    system: str | None = Field(None, description="system message")
    user: str = Field(description="user message; `{column}` is replaced")
    answers: dict[str, str] = Field(description="label -> the text that the LLM answers with")


class Params(Strict):
    """`params.yaml`."""

    seed: int = Field(0, description="of sampling, training and bootstrap")
    bases: dict[Name, str] = Field(description="role -> entry of models/catalog.yaml; only these are fetched")
    tasks: dict[Name, Task] = Field(description="name -> task")
    models: dict[Name, Model] = Field(description="name -> model")
    split: Split = Field(default_factory=Split)
    augmentation: Augmentation = Field(default_factory=Augmentation)
    calibration: Calibration = Field(default_factory=Calibration)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    linear: Linear = Field(default_factory=Linear)
    training: Training = Field(default_factory=Training)
    loss: Loss = Field(default_factory=Loss)
    lora: Lora = Field(default_factory=Lora)
    quantization: Quantization = Field(default_factory=Quantization)
    hardware: Hardware = Field(default_factory=Hardware)

    @field_validator("bases", "tasks", "models")
    @classmethod
    def _not_empty(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("at least one entry is needed")
        return value
