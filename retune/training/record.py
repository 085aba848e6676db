"""What a training leaves behind beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

COUNTED = ("rows", "parameters_total", "parameters_trained", "truncated_rows", "cut_targets")
"""Numbers of a training that follow from its inputs."""


@dataclass(frozen=True)
class Training:
    """The record of one fit.

    `history`: log records in order, each with `step` and numbers (`loss`, `eval_auc`, ...); same inputs, same history.
    `resources`: the numbers of `COUNTED`, and seconds, tokens_per_second, peak_memory_gib, device, ..., which differ
    from run to run.
    `messages`: plain sentences for the report (early stop, best step, rows cut).
    `warnings`: those that must not be overlooked (collapse to one class).
    `stages`: of a curriculum, what each stage was and the dev metrics with which it ended.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, Any]:
        """The part of `resources` that the same inputs give again."""
        return {name: value for name, value in self.resources.items() if name in COUNTED}

    @property
    def took(self) -> dict[str, Any]:
        """The part of `resources` that differs from run to run, and from machine to machine."""
        return {name: value for name, value in self.resources.items() if name not in COUNTED}

    def with_cut(self, cut: int, rows: int, max_length: int, positions: int | None = None) -> Training:
        """The record that says how many training rows were cut, where the base has so many `positions`."""
        resources = {**self.resources, "truncated_rows": cut}
        if not cut:
            return replace(self, resources=resources)
        at = f"training.max_length {max_length} tokens"
        if positions is not None and positions < max_length:
            at = f"{positions} tokens, for which the base has positions (training.max_length is {max_length})"
        said = f"{cut} of {rows} training rows were cut at {at}."
        return replace(self, resources=resources, messages=[*self.messages, said])
