"""The parameters that a stage gets: those that its code reads and that have an effect beside the others.

A merged section has every key of its schema. What the learner does not read, and what means nothing beside another
value (`loss.gamma` without the focal loss, `lora.r` of an untuned model), is left out of params-resolved.json: no stage
can read it, and its change makes nothing stale. A model that names a key which its learner does not read is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from retune.learners import MODULES, module

Spec = dict[str, Any]
"""The merged section of a model: its sections by name, with `learner` and `kind`."""

LLM = ("llm", "llm_reranker")
ENCODERS = ("classifier", "reranker", "pair_embedder", "retriever")
NEURAL = (*ENCODERS, *LLM)


def tuned(spec: Spec) -> bool:
    """Whether any weight is trained."""
    return bool(spec["training"]["epochs"] > 0)


def adapted(spec: Spec) -> bool:
    """Whether an adapter is trained instead of all weights."""
    return tuned(spec) and spec.get("lora", {}).get("method", "full") != "full"


def seeded(spec: Spec) -> bool:
    """Whether another seed makes another model: weights are trained, in an order and from a start that are drawn."""
    return package(spec) in NEURAL and tuned(spec)


def writes(spec: Spec) -> bool:
    """Whether the rows of the task come with reasoning or a reason."""
    return bool(spec.get("reasoning")) or spec["kind"] == "scoring"


@dataclass(frozen=True)
class Key:
    """Packages of `retune.learners` whose `fit` or `predict` reads a key, and when it has an effect there."""

    by: tuple[str, ...]
    when: Callable[[Spec], bool]


def _keys(section: str, names: str, by: tuple[str, ...], when: Callable[[Spec], bool]) -> dict[str, Key]:
    return {f"{section}.{name}": Key(by, when) for name in names.split()}


KEYS: dict[str, Key] = {
    **_keys(
        "training",
        "max_steps batch_size learning_rate schedule warmup_ratio weight_decay max_grad_norm packed_tokens "
        "eval_steps patience select checkpoint keep_checkpoints freeze_layers gradient_checkpointing",
        NEURAL,
        tuned,
    ),
    # An untuned pair embedder fits a scale and a bias on training rows; both untuned embedders are measured on dev.
    "training.max_rows": Key(NEURAL, lambda spec: tuned(spec) or package(spec) == "pair_embedder"),
    "training.dev_rows": Key(NEURAL, lambda spec: tuned(spec) or package(spec) in ENCODERS),
    "training.truncation": Key(("classifier", *LLM), lambda spec: True),
    "training.keep_together": Key(LLM, tuned),
    # Without it a model's parameters and bytes are what they were before the key existed.
    "training.warm_start": Key(NEURAL, lambda spec: tuned(spec) and spec["training"]["warm_start"]),
    # Who may name these two depends on the task as well: retune.pipeline.checks.reasoning refuses them.
    "training.thinking": Key(NEURAL, lambda spec: package(spec) == "llm" and writes(spec)),
    "training.answer_weight": Key(NEURAL, lambda spec: package(spec) == "llm" and tuned(spec) and writes(spec)),
    "training.head": Key(("classifier",), tuned),
    "training.freeze_embeddings": Key(ENCODERS, lambda spec: tuned(spec) and not adapted(spec)),
    **_keys("lora", "r alpha dropout targets", (*LLM, "reranker", "retriever"), adapted),
    "lora.method": Key((*LLM, "reranker", "retriever"), tuned),
    "quantization.double": Key(LLM, lambda spec: spec["quantization"]["bits"] == 4),
    **_keys("loss", "name label_smoothing r_drop adversarial", ("classifier", "pair_embedder"), tuned),
    "loss.gamma": Key(("classifier", "pair_embedder"), lambda spec: tuned(spec) and spec["loss"]["name"] == "focal"),
    "loss.epsilon": Key(
        ("classifier", "pair_embedder"), lambda spec: tuned(spec) and spec["loss"]["adversarial"] != "none"
    ),
    **_keys(
        "loss",
        "pgd_steps pgd_step_size",
        ("classifier", "pair_embedder"),
        lambda spec: tuned(spec) and spec["loss"]["adversarial"] == "pgd",
    ),
    **_keys("ranking_loss", "cosine in_batch hard dimensions", ("retriever",), tuned),
    "ranking_loss.temperature": Key(("retriever",), lambda spec: tuned(spec) and spec["ranking_loss"]["in_batch"] > 0),
    **_keys(
        "ranking_loss",
        "hard_negatives margin",
        ("retriever",),
        lambda spec: tuned(spec) and spec["ranking_loss"]["hard"] > 0,
    ),
    "ranking_loss.reranker": Key(("reranker",), tuned),
    "ranking_loss.list_temperature": Key(
        ("reranker",), lambda spec: tuned(spec) and spec["ranking_loss"]["reranker"] == "listnet"
    ),
    "teacher.temperature": Key(("classifier", "pair_embedder", "tfidf_logistic"), lambda spec: True),
    "linear.ngrams": Key(("tfidf_logistic", "tfidf_ridge"), lambda spec: spec["linear"]["analyzer"] != "word"),
    "linear.class_weights": Key(("tfidf_logistic",), lambda spec: True),
    "hardware.processes": Key(
        ("classifier", "reranker", "pair_embedder", *LLM),
        lambda spec: tuned(spec) and spec["hardware"]["processes"] != 1,
    ),
    **_keys("api", "logprobs max_tokens temperature", ("api",), lambda spec: spec["api"]["protocol"] == "chat"),
    # One process has nobody to share with, but it may keep the layers in the machine's memory.
    "hardware.sharding": Key(
        ("classifier", "reranker", "pair_embedder", *LLM),
        lambda spec: (
            (package(spec) in LLM and spec["hardware"]["sharding"] == "offload")
            or (tuned(spec) and spec["hardware"]["processes"] != 1 and spec["hardware"]["sharding"] != "none")
        ),
    ),
}
"""Key of a model's section -> who reads it and when; a key that does not stand here is read by all that get its
section."""

TAUGHT = ("tfidf_logistic", "tfidf_ridge", *ENCODERS)
"""Those that can learn from a teacher."""

SEEDLESS = ("bm25", "tfidf_ridge", "api")
"""Learners without a random draw."""


def package(spec: Spec) -> str:
    """The package of `retune.learners` that trains the model and predicts with it."""
    return module(spec["learner"], spec["kind"]).rpartition(".")[2]


def model(spec: Spec) -> Spec:
    """What the training of a model depends on."""
    found: Spec = {}
    for name, value in spec.items():
        if not isinstance(value, dict) or name == "prompt":
            found[name] = value
        elif section := {key: one for key, one in value.items() if _has_effect(spec, f"{name}.{key}")}:
            found[name] = section
    if package(spec) in SEEDLESS:
        del found["seed"]
    return found


def _has_effect(spec: Spec, key: str) -> bool:
    known = KEYS.get(key)
    return known is None or (package(spec) in known.by and known.when(spec))


def unread(spec: Spec, section: str, keys: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, who reads it) of each of `keys`, named by a model under `section`, that its learner does not read."""
    for key in keys:
        known = KEYS.get(f"{section}.{key}")
        if known and package(spec) not in known.by:
            yield key, readers(known.by)


def idle(spec: Spec, section: str, keys: dict[str, Any]) -> Iterator[str]:
    """Those of `keys`, named by a model under `section`, that its learner reads and that have no effect here."""
    for key in keys:
        known = KEYS.get(f"{section}.{key}")
        if known and package(spec) in known.by and not known.when(spec):
            yield key


def readers(packages: tuple[str, ...]) -> str:
    """Packages of learners in the words of params.yaml: `encoder of kind ranking, llm`."""
    words = []
    for learner, kinds in MODULES.items():
        read = {kind: name in packages for kind, name in kinds.items()}
        if all(read.values()):
            words.append(learner)
        else:
            words += [
                f"{learner} of kind {kind}" if kind else f"{learner} (labels)" for kind, yes in read.items() if yes
            ]
    return ", ".join(words)


def prediction(spec: Spec, generation: dict[str, Any], evaluation: dict[str, Any], target: str) -> dict[str, Any]:
    """What the prediction of a model depends on beside its folder; `target` is the column that its kind predicts."""
    found: dict[str, Any] = {"limit": evaluation["limit"]}
    hardware = spec.get("hardware", {})
    found["hardware"] = {key: value for key, value in hardware.items() if key not in ("processes", "sharding")}
    if package(spec) in LLM and hardware["sharding"] == "offload":
        found["hardware"]["sharding"] = hardware["sharding"]
    if generation.get("thinking"):
        drawn = generation["temperature"] > 0 or generation["samples"] > 0
        without = ((), ("top_p",))[not drawn] + ((), ("sample_rows",))[not generation["samples"]]
        found["generation"] = {key: value for key, value in generation.items() if key not in without}
    elif generation:
        found["generation"] = {"thinking": False}
    if package(spec) == "llm" and target == "label" and not generation.get("thinking"):
        found["generate_rows"] = evaluation["generate_rows"]
    return found


ALTERING = ("synonym", "insert", "homophone", "delete", "exchange")
METHODS = ("swap", *ALTERING, "transitive")


def augmentation(section: dict[str, Any]) -> dict[str, Any]:
    """What the augmentation of a task's rows depends on: `section` without the methods that are off."""
    on = {name for name in METHODS if is_on(section.get(name))}
    without = {name for name in METHODS if name not in on}
    without |= set() if on else {"seed"}
    without |= set() if on & set(ALTERING) else {"strength"}
    return {key: value for key, value in section.items() if key not in without}


def is_on(shares: Any) -> bool:
    """Whether a method of augmentation alters any row: a share of all, or one for each label."""
    return any(shares.values()) if isinstance(shares, dict) else bool(shares)


def calibration(section: dict[str, Any]) -> dict[str, Any]:
    """What is fitted on the calibration rows depends on: costs only where the threshold is chosen by them."""
    costs = ("cost_false_positive", "cost_false_negative") if section.get("threshold") != "cost" else ()
    return {key: value for key, value in section.items() if key not in costs}


def evaluation(section: dict[str, Any]) -> dict[str, Any]:
    """What the measurement of one model depends on."""
    return {key: value for key, value in section.items() if key != "generate_rows"}


def comparison(section: dict[str, Any]) -> dict[str, Any]:
    """What the comparison of a task's models depends on: nothing of errors, reasons and their judge."""
    without = ("generate_rows", "errors", "terms", "judge", "reasoning")
    return {key: value for key, value in section.items() if key not in without}
