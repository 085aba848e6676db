"""The sections of params.yaml that a model reads: training, losses, adapter, precision, hardware."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from retune.pipeline.schema.catalog import Strict, Unit


def _ascending(value: list[int]) -> list[int]:
    if value[0] > value[1]:
        raise ValueError(f"is {value}, but the first length must not exceed the second")
    return value


class Training(Strict):
    """Optimisation. `epochs: 0` keeps the untuned checkpoint."""

    epochs: Annotated[float, Field(ge=0)] = Field(
        1.0, description="passes over the training rows; 0: the untuned checkpoint"
    )
    max_steps: Annotated[int, Field(ge=1)] | None = Field(
        None, description="optimiser steps after which training and schedule end, if the epochs have not before"
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(
        32, description="rows of one optimiser step; it takes as many forward passes as `packed_tokens` asks for"
    )
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="highest rate of the schedule (AdamW); auto: what suits the learner: encoder 1e-4, embedder 5e-5, "
        "llm 2e-5, an adapter 2e-4",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="of the learning rate after the warm-up"
    )
    warmup_ratio: Unit = Field(
        0.1, description="share of the steps in which the rate rises, rounded up; none in a training of one step"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of AdamW; not on biases and norms")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="longer gradients are clipped to this norm")
    warm_start: bool = Field(
        False,
        description="begin with the model's last version where it fits and rows or labels were only added; else, and "
        "this is said, with the base",
    )
    max_length: Annotated[int, Field(ge=8)] = Field(128, description="tokens; longer inputs are cut and counted")
    truncation: Literal["middle", "end"] = Field(
        "middle", description="what longer inputs lose (embedder: the end, as sentence-transformers does)"
    )
    max_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="training rows used, chosen by hash")
    dev_rows: Annotated[int, Field(ge=1)] | None = Field(None, description="dev rows used at each evaluation")
    eval_steps: Annotated[int, Field(ge=1)] = Field(
        20, description="optimiser steps between checkpoints, each of which is evaluated on dev; so is the last step"
    )
    patience: Annotated[int, Field(ge=0)] = Field(3, description="evaluations without gain before the stop; 0: never")
    select: Literal["auto", "loss", "auc", "f1", "accuracy", "macro_f1", "ndcg", "mae", "spearman"] = Field(
        "auto",
        description="dev metric that picks the checkpoint; auto: auc (pair), macro_f1 (classification), "
        "ndcg (ranking), mae (scoring); loss for an llm that thinks, whose targets are measured whole",
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
        4096,
        description="most tokens of one forward pass (llm: distinct ones; else with padding); a larger batch runs in "
        "several, with the same gradient: what bounds the memory",
    )
    keep_together: bool = Field(
        False,
        description="llm: rows of the same document, question or first text stand in one batch, which computes it "
        "once; false: rows are shuffled one by one",
    )
    thinking: bool = Field(
        True,
        description="llm of a task with reasoning: learns to think before it answers; false: the answers alone",
    )
    answer_weight: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="weight of an answer's token in the loss, where reasoning or a reason stands beside it: a token of "
        "those weighs 1, and there may be a hundred of them",
    )
    head: Literal["auto", "probe", "random"] = Field(
        "auto",
        description="encoder (pair, classification): first weights of its new layer; probe (so does auto): those of a "
        "logistic regression on the vectors of the checkpoint as it comes",
    )
    freeze_embeddings: bool = Field(True, description="encoder and embedder: word embeddings stay as pretrained")
    freeze_layers: Annotated[int, Field(ge=0)] = Field(
        0,
        description="so many of the lowest layers, and all below them, stay as pretrained (an LLM's get no adapter); "
        "with half of them an encoder's step takes about a third less time",
    )
    gradient_checkpointing: bool = Field(False, description="less memory, about a third slower")


class CurriculumStage(Strict):
    """One stage of a curriculum; it starts from the weights of the stage before."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$")] = Field(description="letters, digits, _ and -")
    dimensions: Annotated[list[str], Field(min_length=1)] = Field(description="of the task; the stage has their rows")
    epochs: Annotated[float, Field(gt=0)] = Field(1.0, description="passes over the rows of the stage")
    data_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the training groups, by hash: a smaller share is a part of a larger one"
    )


class Generation(Strict):
    """What an LLM of a task with reasoning, or of kind `scoring`, writes when it predicts; a change trains nothing."""

    thinking: bool = Field(
        True,
        description="think first, then answer; false: answers are scored right behind the prompt, nothing is generated",
    )
    max_new_tokens: Annotated[int, Field(ge=1)] = Field(256, description="length of reasoning, answer and reason")
    batch_size: Annotated[int, Field(ge=1)] = Field(
        256,
        description="rows that are written together; on a processor a step of 128 takes little more than one of 64",
    )
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="of the prediction; 0: the likeliest token")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="tokens are drawn from the likeliest that make up this probability"
    )
    samples: Annotated[int, Field(ge=0)] = Field(
        0,
        description="further answers of some test rows, drawn at `temperature` (at 1 where that is 0)",
    )
    sample_rows: Annotated[int, Field(ge=0)] = Field(0, description="test rows, chosen by hash, that get `samples`")


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
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="on the adapter's input; equal beginnings of rows share a mask"
    )
    targets: str | list[str] = Field("all-linear", description="`all-linear` or module names")


class Quantization(Strict):
    """Precision of the LLM's frozen weights: 16 (or 32), 8 or 4 bits (nf4, bitsandbytes)."""

    bits: Literal[16, 8, 4] = Field(16, description="16: not quantised")
    double: bool = Field(True, description="4-bit: quantise the quantisation constants too")


class Linear(Strict):
    """TF-IDF over n-grams and a logistic regression (kind scoring: a ridge regression for each dimension)."""

    analyzer: Literal["auto", "char", "word", "both"] = Field(
        "auto",
        description="n-grams of characters, of one and two words (in scripts without spaces a word is a character), or "
        "of both; auto: what is best on dev",
    )
    ngrams: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] = Field(
        [1, 3], description="shortest and longest n-gram of characters"
    )
    min_df: Annotated[int, Field(ge=1)] = Field(
        2, description="an n-gram in fewer texts is ignored, unless none would be left"
    )
    c: Annotated[float, Field(gt=0)] | Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = Field(
        [0.1, 0.3, 1.0, 3.0, 10.0, 30.0],
        description="inverse strength of the L2 penalty: a number, or several, of which the best on dev is taken: by "
        "the metric of `select: auto`, within its standard error by the loss",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: inverse to the frequency of the class"
    )

    @field_validator("ngrams")
    @classmethod
    def _short_to_long(cls, value: list[int]) -> list[int]:
        return _ascending(value)


class Hardware(Strict):
    """Where and how a model runs; `auto` chooses, and prints what it chose and why."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model runs")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of weights and activations"
    )
    attention: Literal["auto", "eager", "sdpa", "flex_attention", "flash_attention_2"] = Field(
        "auto", description="implementation of attention"
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="processor threads; 0: OMP_NUM_THREADS where it is set, else one per core"
    )
    processes: Annotated[int, Field(ge=0)] = Field(
        1,
        description="training processes that share each batch: one per GPU; 0: all visible GPUs, one on the cpu (where "
        "several divide the threads)",
    )
    sharding: Literal["none", "optimizer", "full", "offload"] = Field(
        "none",
        description="optimizer divides the optimiser's state among several processes (what DeepSpeed calls ZeRO stage "
        "1), for full fine-tunes; full (llm with an adapter) divides the frozen weights of the layers (FSDP; ZeRO "
        "stage 3), for a base that does not fit into one GPU; offload keeps these in the machine's memory and brings "
        "them to the GPU layer by layer (ZeRO-3 with offload_param: cpu), also for one process; the last two are "
        "slower",
    )
