"""Seeds of models: whether they change anything, and the names that their members and ensembles take."""

from __future__ import annotations

from typing import Any

from retune.pipeline import effective, seeds
from retune.pipeline.declarations import Project
from retune.pipeline.schema.params import Model, writes


def check(project: Project, resolved: dict[str, Any]) -> None:
    """Note in params.yaml seeds without an effect, ensembles that can't be, and names that are taken."""
    if odd := _twice(project.seeds):
        project.params.problem(("seeds",), f"has {odd} twice; a seed stands once")
    chains = {chain for task in project.tasks.values() for chain in task.chains}
    for name, model in project.models.items():
        spec = resolved["models"][name]
        if spec["kind"] is None:
            continue  # said of its task
        _check_own(project, name, model, spec)
        found = seeds.of(project, model, spec)
        made = [seeds.member(name, seed) for seed in found[1:]]
        made += [seeds.member(name, seeds.MEAN)] if model.ensemble != "none" else []
        for one in made:
            if one in project.models or one in chains or one in project.tasks:
                what = "model" if one in project.models else "chain" if one in chains else "task"
                text = f"makes a model {one}, and that is the name of a {what}; give the {what} another one"
                project.params.problem(("models", name), text)


def _check_own(project: Project, name: str, model: Model, spec: dict[str, Any]) -> None:
    problem, at = project.params.problem, ("models", name)
    if model.seeds:
        if model.seed is not None:
            problem((*at, "seed"), "stands beside `seeds`, which begin with its seed; take one of both")
        if odd := _twice(model.seeds):
            problem((*at, "seeds"), f"has {odd} twice; a seed stands once")
        if not effective.seeded(spec):
            untuned = spec.get("training", {}).get("epochs") == 0
            why = "nothing is trained (epochs 0)" if untuned else f"the learner {model.learner} makes no random choice"
            problem((*at, "seeds"), f"would build the same model again, since {why}; take it out")
    if model.ensemble == "none":
        return
    if len(seeds.of(project, model, spec)) < 2:
        problem((*at, "ensemble"), "is a mean over seeds, and this model has but one; give it `seeds: [42, 43, 44]`")
    task = project.tasks.get(model.task)
    if writes(model.learner, task):
        text = "would be a mean of answers that hold written reasons, which have none; take `none`, or another learner"
        problem((*at, "ensemble"), text)


def _twice(found: list[int]) -> int | None:
    return next((seed for place, seed in enumerate(found) if seed in found[:place]), None)
