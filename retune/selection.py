"""What follows from a training's dev evaluations: the best checkpoint, the early stop, and what to say of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from retune import dev_metrics

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

History = list[dict[str, Any]]


def best_record(history: History, select: str) -> dict[str, Any]:
    """The evaluation with the best `select` (the earliest of equals)."""
    evaluations = [record for record in history if f"eval_{select}" in record]
    sign = -1 if select == "loss" else 1
    return max(evaluations, key=lambda record: sign * record[f"eval_{select}"])


def stale(history: History, select: str, patience: int) -> bool:
    """Whether the last `patience` evaluations brought no gain; never for a patience of 0."""
    steps = [record["step"] for record in history if f"eval_{select}" in record]
    return bool(patience and steps) and len(steps) - 1 - steps.index(best_record(history, select)["step"]) >= patience


def finished(history: History, options: Params, steps: int) -> bool:
    """Whether a training with this history has nothing left to do."""
    return history[-1]["step"] >= steps or stale(history, options.select, options.patience)


def messages(history: History, best: dict[str, Any], options: Params, steps: int) -> list[str]:
    """Sentences for the report: the step that was kept, an early stop, a collapse to one class (which is warned of)."""
    said = [f"Kept step {best['step']} of {steps}, dev {options.select} {best[f'eval_{options.select}']:.4f}."]
    last = history[-1]["step"]
    if last < steps:
        said.append(f"Stopped early at step {last} of {steps}: {options.patience} evaluations without gain.")
    if "eval_auc_noise" in best:
        problem = dev_metrics.collapse({name.removeprefix("eval_"): value for name, value in best.items()})
        if problem:
            log.warning(problem)
            said.append(problem)
    for message in said[:2]:
        log.info(message)
    return said
