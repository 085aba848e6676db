"""Put the trained adapter on its base, behind the task's prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retune import params
from retune.learners.llm.task_prompt import prepare
from retune.llm import adapter
from retune.llm.predictor import PromptedLlm
from retune.params import Params
from retune.training import hardware
from retune.training.distributed import fsdp


def load(model_dir: Path, base: Path, hardware_options: Params, options: Params | None = None) -> PromptedLlm:
    """Read what `fit` wrote and the stage's spec.json; the adapter goes on the base, in the bits of its training.

    `options` is the model's section `generation`; without one nothing is generated.
    """
    spec = params.load(model_dir / "spec.json")
    chosen = hardware.choose(hardware_options, tree_attention=True)
    hardware.make_deterministic(spec.seed)
    tuned, full = spec.training.epochs > 0, adapter.trained_whole(spec)
    divided = fsdp.is_enabled(hardware_options, chosen)
    model: Any = adapter.load_base(model_dir if full else base, spec, chosen, divided)
    if tuned and not full:
        model = adapter.attach(model, model_dir, chosen)
    if divided:
        whole = adapter.base_of(model)
        fsdp.shard(whole, hardware_options, chosen, adapter.mixed_precision(whole, chosen))
    return PromptedLlm(model.eval(), prepare(spec, base), chosen, spec, options)
