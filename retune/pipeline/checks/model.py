"""What one file can't show of a model: names that must exist elsewhere, and settings that can't work together."""

from __future__ import annotations

from typing import Any

from retune.errors import unknown
from retune.pipeline import effective, kind_constants
from retune.pipeline.checks import reasoning
from retune.pipeline.declarations import Project, mapping
from retune.pipeline.schema.params import RANKING, SECTIONS, Model, sections


def check(project: Project, name: str, model: Model, spec: dict[str, Any]) -> None:
    """Note in params.yaml what does not fit together of model `name`; `spec` is its resolved section."""
    _check_names(project, name, model)
    _check_sections(project, name, model)
    reasoning.check(project, name, model, spec)
    if spec["kind"]:
        _check_read(project, name, model, spec)
    _check_combinations(project, name, spec)


def _check_names(project: Project, name: str, model: Model) -> None:
    problem, at = project.params.problem, ("models", name)
    tasks, bases = mapping(project.raw("params.yaml").get("tasks")), mapping(project.raw("params.yaml").get("bases"))
    if model.task not in tasks:
        problem((*at, "task"), unknown("task", model.task, tasks))
    if model.base not in bases:
        problem((*at, "base"), unknown("role", model.base, bases, " under `bases`"))
        return
    checkpoint = project.checkpoints.get(project.bases.get(model.base, ""))
    if checkpoint is None:
        return
    from_nothing = model.learner in ("linear", "api")
    if from_nothing and checkpoint.kind != "none":
        problem(
            (*at, "base"),
            f"`{model.base}` is a {checkpoint.kind} checkpoint, which {model.learner} can't read; "
            "give one of kind none",
        )
    elif not from_nothing and checkpoint.kind == "none":
        problem(
            (*at, "base"), f"`{model.base}` is empty (kind none), but {model.learner} needs a pretrained checkpoint"
        )
    elif model.learner == "llm" and checkpoint.format == "e5s1":
        problem((*at, "base"), f"`{model.base}` is an encoder, but llm needs a causal language model")
    elif model.learner in ("encoder", "embedder") and checkpoint.format == "gguf":
        problem((*at, "base"), f"`{model.base}` is a causal language model, but {model.learner} needs an encoder")
    task = project.tasks.get(model.task)
    learners = kind_constants.constants(project, task.kind).get("LEARNERS", ()) if task else ()
    if task and model.learner not in learners:
        text = f"{model.learner} can't be trained on kind {task.kind}; take one of {', '.join(learners)}"
        problem((*at, "learner"), text)
    if model.learner in ("llm", "api") and task and task.prompt is None:
        text = f"{model.learner} needs a prompt, but tasks.{model.task} has none; give it `prompt: NAME`"
        problem((*at, "learner"), text)


def _check_sections(project: Project, name: str, model: Model) -> None:
    kind = project.tasks[model.task].kind if model.task in project.tasks else None
    reads = sections(model.learner, kind)
    every = {section for table in (SECTIONS, RANKING) for names in table.values() for section in names}
    for section in sorted(every - set(reads)):
        if getattr(model, section) is not None:
            who = _named(model.learner, kind)
            text = f"the learner {who} does not read this section, only {', '.join(reads)}; take it out"
            project.params.problem(("models", name, section), text)


def _check_read(project: Project, name: str, model: Model, spec: dict[str, Any]) -> None:
    """Keys that the model itself gives and that its learner would ignore."""
    who = _named(model.learner, spec["kind"])
    for section in sections(model.learner, spec["kind"]):
        own = project.said("models", name, section)
        for key, readers in effective.unread(spec, section, own):
            text = f"the learner {who} does not read this key, which is for: {readers}; take it out"
            project.params.problem(("models", name, section, key), text)


def _named(learner: str, kind: str | None) -> str:
    return learner + (f" of kind {kind}" if kind == "ranking" else "")


def _check_combinations(project: Project, name: str, spec: dict[str, Any]) -> None:
    """Settings that are fine by themselves and impossible together."""

    def problem(section: str, key: str, text: str) -> None:
        project.params.problem(("models", name, section, key), text)

    whole = spec["learner"] == "llm" and spec.get("lora", {}).get("method") == "full"
    if whole and spec["training"]["freeze_layers"]:
        problem("training", "freeze_layers", "is above 0, but all weights are trained; take 0, or an adapter")
    measured = kind_constants.constants(project, spec["kind"]).get("DEV_METRICS", ()) if spec["kind"] else ()
    if measured and (select := spec.get("training", {}).get("select", measured[0])) not in measured:
        problem(
            "training", "select", f"is {select}, which kind {spec['kind']} has not; take {', '.join(measured)} or auto"
        )
    for key, what in (("url", "http://localhost:8000/v1"), ("model", "a name that it knows")):
        if spec["learner"] == "api" and spec["api"][key] is None:
            problem("api", key, f"is missing; give the endpoint's, such as {what}")
    bits = spec.get("quantization", {}).get("bits", 16)
    if bits < 16 and spec["lora"]["method"] == "full":
        text = f"{bits}-bit weights can't be trained in full; take quantization.bits: 16, or lora.method: lora"
        problem("quantization", "bits", text)
    hardware = spec.get("hardware", {})
    device, dtype, attention = (hardware.get(key) for key in ("device", "dtype", "attention"))
    if attention == "flash_attention_2" and device in ("cpu", "mps"):
        problem("hardware", "attention", f"flash_attention_2 needs device: cuda, not {device}; take sdpa or auto")
    if attention == "flash_attention_2" and dtype == "float32":
        problem("hardware", "attention", "flash_attention_2 needs dtype: bfloat16 or float16, not float32")
    if dtype == "float16" and device == "cpu":
        problem("hardware", "dtype", "float16 is for GPUs; on the cpu take bfloat16, float32 or auto")
    if spec["kind"] == "ranking" and spec["learner"] == "embedder" and hardware["processes"] > 1:
        text = f"is {hardware['processes']}, but this loss compares all documents of a batch in one process; take 1"
        problem("hardware", "processes", text)
    if device == "mps" and hardware["processes"] > 1:
        problem("hardware", "processes", f"is {hardware['processes']}, but an Apple GPU serves one process; take 1")
    if spec["learner"] == "llm" and hardware["sharding"] in ("full", "offload"):
        if hardware["sharding"] == "offload" and device == "mps":
            text = "is offload, but an Apple GPU shares the machine's memory; take none"
            problem("hardware", "sharding", text)
        if spec["quantization"]["bits"] != 16:
            problem(
                "quantization",
                "bits",
                f"is {spec['quantization']['bits']}, but hardware.sharding divides weights of 16; take one of both",
            )
        if spec["lora"]["method"] == "full":
            problem(
                "lora",
                "method",
                f"is full, but hardware.sharding {hardware['sharding']} divides frozen weights: take an adapter, or "
                "sharding: optimizer",
            )
    loss = spec.get("loss", {})
    if loss.get("adversarial") == "pgd" and loss["pgd_step_size"] > loss["epsilon"]:
        text = f"is {loss['pgd_step_size']}, above loss.epsilon ({loss['epsilon']}): one step would leave the radius"
        problem("loss", "pgd_step_size", text)
