"""What follows from a training's dev evaluations: the best checkpoint, early stopping, and the sentences about both."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError
from retune.evaluation import dev_metrics
from retune.evaluation.dev_metrics import LOWER

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

History = list[dict[str, Any]]


def best_record(history: History, select: str) -> dict[str, Any]:
    """The evaluation with the best `select` (the earliest of equals)."""
    evaluations = [record for record in history if f"eval_{select}" in record]
    sign = -1 if select in LOWER else 1
    return max(evaluations, key=lambda record: sign * record[f"eval_{select}"])


def model_record(history: History, options: Params) -> dict[str, Any] | None:
    """The evaluation whose checkpoint becomes the model, by `training.checkpoint`; None while it has yet to come."""
    if options.checkpoint == "best":
        return best_record(history, options.select)
    return next((r for r in history if r["step"] == options.checkpoint and f"eval_{options.select}" in r), None)


def steps_to_keep(history: History, options: Params) -> set[int]:
    """The steps whose weights stay beside the last ones: the model's, and those of `training.keep_checkpoints`."""
    sign = -1 if options.select in LOWER else 1
    evaluations = [record for record in history if f"eval_{options.select}" in record]
    ranked = sorted(evaluations, key=lambda record: (-sign * record[f"eval_{options.select}"], record["step"]))
    count = {"best": 1, "all": len(ranked)}.get(options.keep_checkpoints, options.keep_checkpoints)
    model = model_record(history, options)
    return {record["step"] for record in ranked[:count]} | ({model["step"]} if model else set())


def check(options: Params, steps: int) -> None:
    """Raise `RetuneError` where `training.checkpoint` is no step after which a training of `steps` is evaluated."""
    step = options.checkpoint
    if step != "best" and (step > steps or (step % options.eval_steps and step != steps)):
        last = steps - (steps - 1) % options.eval_steps - 1
        evaluated = f"every {options.eval_steps} steps up to {last}, and {steps}" if last else f"step {steps} alone"
        raise RetuneError(
            f"training.checkpoint is {step}, but this training of {steps} steps is evaluated after {evaluated}: take "
            "one of them, or `best`"
        )


def out_of_patience(history: History, select: str, patience: int) -> bool:
    """Whether the last `patience` evaluations brought no gain; never for a patience of 0."""
    steps = [record["step"] for record in history if f"eval_{select}" in record]
    return bool(patience and steps) and len(steps) - 1 - steps.index(best_record(history, select)["step"]) >= patience


def finished(history: History, options: Params, steps: int) -> bool:
    """Whether a training with this history has nothing left to do."""
    return history[-1]["step"] >= steps or out_of_patience(history, options.select, options.patience)


def messages(history: History, options: Params, steps: int) -> list[str]:
    """Sentences for the report: the step that was kept, and an early stop."""
    model, best = model_record(history, options), best_record(history, options.select)
    assert model is not None, "`retune.training.job` has refused it"
    sentences = [f"Kept step {model['step']} of {steps}, dev {options.select} {model[f'eval_{options.select}']:.4f}."]
    if options.checkpoint != "best":
        value = f"{best[f'eval_{options.select}']:.4f}"
        sentences[0] = f"{sentences[0][:-1]}, as training.checkpoint says; the best is step {best['step']}, {value}."
    last = history[-1]["step"]
    if last < steps:
        sentences.append(f"Stopped early at step {last} of {steps}: {options.patience} evaluations without gain.")
    for message in sentences:
        log.info(message)
    return sentences


def warnings(history: History, spec: Params) -> list[str]:
    """What the report must warn of: that the model of this history has collapsed, or learned next to nothing."""
    model = model_record(history, spec.training)
    assert model is not None, "`retune.training.job` has refused it"
    metrics = {name.removeprefix("eval_"): value for name, value in model.items()}
    problem = dev_metrics.problem(metrics, remedy(spec))
    if problem is None:
        return []
    log.warning(problem)
    return [problem]


def remedy(spec: Params) -> str:
    """What may help a training that learns too little: its keys, with their values here."""
    options, stages = spec.training, spec.get("curriculum") or []
    keys = [f"another training.learning_rate (now {options.learning_rate:g}; auto suits the learner)"]
    if options.get("head") == "random":
        keys.append("training.head: probe (now random)")
    keys.append(f"more {'curriculum[]' if stages else 'training'}.epochs (now {options.epochs:g})")
    if any(stage["data_ratio"] < 1 for stage in stages):
        ratios = ", ".join(f"{stage['data_ratio']:g}" for stage in stages)
        keys.append(f"a higher curriculum[].data_ratio (now {ratios})")
    if options.get("thinking"):
        keys.append("training.thinking: false (now true)")
    for key in ("max_steps", "max_rows"):
        if options.get(key):
            keys.append(f"a higher training.{key} (now {options[key]})")
    if options.get("max_length"):
        keys.append(f"a higher training.max_length (now {options.max_length}) if it cuts rows")
    if spec.get("learner") == "encoder" and spec.get("kind") == "pair":
        keys.append("the learner `embedder`")
    return f"{', '.join(keys[:-1])}, or {keys[-1]}"
