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
Shares = dict[str, Unit] | Unit
Learner = Literal["linear", "encoder", "embedder", "llm", "api"]
Kind = Literal["pair", "classification", "ranking"]

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
    """The default sections that a learner reads for a task kind."""
    return (RANKING if kind == "ranking" else SECTIONS)[learner]


def _ascending(value: list[int]) -> list[int]:
    if value[0] > value[1]:
        raise ValueError(f"is {value}, but the first length must not exceed the second")
    return value


class Split(Strict):
    """Shares of the groups; the rest is train. Official splits of a source stay as they are."""

    dev: Unit = Field(0.1, description="share for early stopping and the choice of the checkpoint")
    calibration: Unit = Field(0.15, description="share for threshold and temperature")
    test: Unit = Field(0.25, description="share that is reported and never used to choose")
    seed: int = Field(0, description="another seed deals the groups anew, and balances with other rows")
    balance: Literal["none", "undersample", "oversample"] | Annotated[int, Field(ge=1)] = Field(
        "none",
        description="training rows of a label: as many as of the rarest, of the most frequent (copies), or at most N",
    )

    @model_validator(mode="after")
    def _something_left(self) -> Split:
        if self.dev + self.calibration + self.test >= 1:
            raise ValueError("dev + calibration + test must stay below 1, the rest is train")
        return self


class Augmentation(Strict):
    """Share of the training rows that get one more row by each method: a number, or one for each label."""

    swap: Shares = Field(default_factory=dict, description="pair: text_a and text_b exchanged")
    synonym: Shares = Field(default_factory=dict, description="Chinese words replaced by synonyms (EDA)")
    insert: Shares = Field(default_factory=dict, description="synonyms of its words put in at random places (EDA)")
    homophone: Shares = Field(
        default_factory=dict, description="Chinese characters replaced by ones that sound the same"
    )
    delete: Shares = Field(default_factory=dict, description="characters deleted at random (EDA)")
    exchange: Shares = Field(default_factory=dict, description="neighbouring characters exchanged (EDA)")
    transitive: Unit = Field(0.0, description="pair: share of a~b, b~c inside one group that give a~c")
    strength: Unit = Field(
        0.1, description="share of a text's characters (delete, exchange, homophone) or known words that change"
    )
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
    limit: Annotated[int, Field(ge=1)] | None = Field(
        None, description="quick look: only so many test rows, chosen by hash, are predicted and measured; null: all"
    )
    generate_rows: Annotated[int, Field(ge=0)] = Field(
        0, description="llm: test rows, chosen by hash, whose answer is also generated and parsed, to compare; 0: none"
    )


class Training(Strict):
    """Optimisation. `epochs: 0` keeps the untuned checkpoint."""

    epochs: Annotated[float, Field(ge=0)] = Field(
        1.0, description="passes over the training rows; 0: the untuned checkpoint"
    )
    max_steps: Annotated[int, Field(ge=1)] | None = Field(
        None, description="optimiser steps after which training and schedule end, if the epochs have not before"
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
    truncation: Literal["middle", "end"] = Field(
        "middle", description="what longer inputs lose (embedder: the end, as sentence-transformers does)"
    )
    max_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="training rows used, chosen by hash")
    dev_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="dev rows used at each evaluation")
    eval_steps: Annotated[int, Field(ge=1)] = Field(
        50, description="optimiser steps between checkpoints, each of which is evaluated on dev; so is the last step"
    )
    patience: Annotated[int, Field(ge=0)] = Field(3, description="evaluations without gain before the stop; 0: never")
    select: Literal["auto", "loss", "auc", "f1", "accuracy", "macro_f1", "ndcg"] = Field(
        "auto",
        description="dev metric that picks the checkpoint; auto: auc (pair), macro_f1 (classification), ndcg (ranking)",
    )
    checkpoint: Literal["best"] | Annotated[int, Field(ge=1)] = Field(
        "best",
        description="the checkpoint that becomes the model: the best by `select`, or the evaluated one after this step "
        "(`retune checkpoints MODEL --promote STEP` writes it)",
    )
    keep_checkpoints: Literal["best", "all"] | Annotated[int, Field(ge=1)] = Field(
        "best",
        description="trained weights that stay in .retune after the training: of every checkpoint, or of so many, best "
        "first; a promoted one that stayed is taken at once, any other is trained again; best: none but the model's",
    )
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


class RankingLoss(Strict):
    """What embedders (a weighted sum) and rerankers of kind `ranking` learn from."""

    cosine: Annotated[float, Field(ge=0)] = Field(
        0.1, description="embedder: weight of the squared error of the cosine against the relevance (row weights count)"
    )
    in_batch: Annotated[float, Field(ge=0)] = Field(
        1.0, description="embedder: weight of InfoNCE, the documents of the batch's other queries being negatives"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.02, description="embedder: cosines are divided by it in InfoNCE"
    )
    hard: Annotated[float, Field(ge=0)] = Field(
        0.0, description="embedder: weight of the margin loss over mined negatives; 0: none are mined"
    )
    hard_negatives: Annotated[int, Field(ge=1)] = Field(
        2, description="embedder: documents mined for each query among those that were not judged for it"
    )
    margin: Annotated[float, Field(gt=0)] = Field(
        0.1, description="embedder: a mined negative is so far below the positive document, and shall be"
    )
    dimensions: list[Annotated[int, Field(ge=8)]] = Field(
        [], description="embedder: shorter lengths at which the vectors shall work as well (Matryoshka)"
    )
    reranker: Literal["ranknet", "listnet"] = Field(
        "ranknet", description="encoder: pairs of a query's documents, or all of them at once"
    )
    list_temperature: Annotated[float, Field(gt=0)] = Field(
        0.25, description="encoder: the relevance is divided by it in the target of listnet"
    )


class Bm25(Strict):
    """The baseline of kind `ranking`."""

    ngrams: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] = Field(
        [1, 2], description="shortest and longest n-gram of characters that counts as a word"
    )
    k1: Annotated[float, Field(gt=0)] = Field(
        1.5, description="how slowly further occurrences of a word cease to count"
    )
    b: Unit = Field(0.75, description="how much a long document is discounted")

    @field_validator("ngrams")
    @classmethod
    def _short_to_long(cls, value: list[int]) -> list[int]:
        return _ascending(value)


class Lora(Strict):
    """The adapter of the LLM; `method: full` trains every weight instead.

    An embedder or a reranker gets one only where the model itself says `lora: {...}`; it is merged when it is saved.
    """

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
        return _ascending(value)


class Api(Strict):
    """An OpenAI-compatible endpoint; its key is in the environment (RETUNE_API_KEY, or OPENAI_API_KEY), never here."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")] | None = Field(
        None, description="address of the endpoint without `/chat/completions`; most end with /v1"
    )
    model: str | None = Field(None, description="name of the model there")
    concurrency: Annotated[int, Field(ge=1)] = Field(8, description="requests under way at a time")
    requests_per_minute: Annotated[float, Field(gt=0)] | None = Field(None, description="pace; null: no limit")
    retries: Annotated[int, Field(ge=0)] = Field(
        5, description="further attempts after 429, 5xx or a timeout, with growing pauses (or as Retry-After says)"
    )
    timeout: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds for one attempt")
    max_tokens: Annotated[int, Field(ge=1)] = Field(32, description="length of an answer, thoughts included")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="of the answers; 0: the likeliest one")
    logprobs: Literal["auto", "always", "never"] = Field(
        "auto",
        description="read labels by the probability of the first token; auto: where that tells answers apart",
    )
    price_input: Annotated[float, Field(ge=0)] = Field(0.0, description="of a million tokens of prompts")
    price_output: Annotated[float, Field(ge=0)] = Field(0.0, description="of a million tokens of answers")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request, e.g. {seed: 1}; null takes a field out"
    )


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
    processes: Annotated[int, Field(ge=0)] = Field(
        1,
        description="training processes that share each batch: one per GPU; 0: all visible GPUs, one on the cpu (where "
        "several divide the threads)",
    )


class Chain(Strict):
    """A query's best documents by one model, put into a new order by another; the others stay below them."""

    first: Name = Field(description="model that finds the candidates")
    second: Name = Field(description="model that puts them into order")
    candidates: Annotated[int, Field(ge=1)] = Field(description="documents of a query that the second model scores")


class Task(Strict):
    """One task: what its rows mean and where they come from."""

    kind: Kind = Field(description="what its rows are")
    source: str = Field(description="entry of data/catalog.yaml")
    labels: Annotated[list[str], Field(min_length=2, max_length=200)] | None = Field(
        None, description="classification: the labels, 2 to 200; a row has one of them"
    )
    prompt: Name | None = Field(None, description="prompts/NAME.yaml, for the LLM")
    max_rejects: Unit = Field(0.01, description="share of rejected rows above which convert stops")
    size: Annotated[int, Field(ge=1)] | None = Field(None, description="rows of a generated sample; default: its own")
    chains: dict[Name, Chain] = Field(
        default_factory=dict,
        description="ranking: name -> two models, one after the other, compared as one more system",
    )
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
    augmented: bool = Field(True, description="false: trained on the original rows alone, none altered and no copies")
    linear: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
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
        None, description="label -> the text that the LLM answers with; default for classification: the label itself"
    )
    length_normalisation: bool = Field(
        False,
        description="label scoring weighs an answer by the mean log-probability of its tokens; false: by the sum, the "
        "exact probability that the LLM gives this answer. For answers of very different length to an untuned LLM",
    )


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
    bm25: Bm25 = Field(default_factory=Bm25)
    training: Training = Field(default_factory=Training)
    loss: Loss = Field(default_factory=Loss)
    ranking_loss: RankingLoss = Field(default_factory=RankingLoss)
    lora: Lora = Field(default_factory=Lora)
    quantization: Quantization = Field(default_factory=Quantization)
    api: Api = Field(default_factory=Api)
    hardware: Hardware = Field(default_factory=Hardware)

    @field_validator("bases", "tasks", "models")
    @classmethod
    def _not_empty(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("at least one entry is needed")
        return value
