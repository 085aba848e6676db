"""What is wrong with an entry of `exports`."""

from __future__ import annotations

from typing import Any

from retune.errors import unknown
from retune.exports import FORMS, ONNX
from retune.pipeline import effective
from retune.pipeline.declarations import Project


def check(project: Project, name: str, resolved: dict[str, Any]) -> None:
    """Note an unknown model, a task or base that is not the model's, a learner without a form, few bits."""
    export, problem = project.exports[name], project.params.problem
    if export.model not in project.models:
        problem(("exports", name, "model"), unknown("model", export.model, project.models))
        return
    model = project.models[export.model]
    for key in ("task", "base"):
        if (said := getattr(export, key)) != (right := getattr(model, key)):
            problem(("exports", name, key), f"is {said}, but models.{export.model}.{key} is {right}: write that")
    spec = resolved["models"][export.model]
    if spec["kind"] and effective.package(spec) not in FORMS:
        text = f"a model of learner {model.learner} and kind {spec['kind']} has no form that others open; leave it out"
        problem(("exports", name), text)
    elif export.onnx and effective.package(spec) not in ONNX:
        text = f"is for encoders and embedders, and {export.model} is of learner {model.learner}: leave it out"
        problem(("exports", name, "onnx"), text)
    bits = spec.get("quantization", {}).get("bits", 16)
    if bits != 16 and export.merge is False:
        text = f"models.{export.model} stands on a base in {bits} bits, which others read in other numbers: write true"
        problem(("exports", name, "merge"), text)
