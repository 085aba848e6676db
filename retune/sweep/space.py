"""What a sweep may try: lists and ranges of values for the keys of one model, checked before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retune.errors import RetuneError, unknown
from retune.pipeline import declarations, set_params
from retune.pipeline.resolve import compiled
from retune.pipeline.yaml_file import Loader

MEASURE = ("training.select", "training.dev_rows", "training.checkpoint", "training.keep_checkpoints")
"""Keys that change what is measured, so that trials could not be compared."""

MOST = 64
"""Combinations of values that are resolved before the first trial."""

DIGITS = 4
"""Digits of a value that is drawn from a range."""


@dataclass(frozen=True)
class Dimension:
    """One key: its `choices`, or the ends of a range; `log`: the range is drawn from on a logarithmic scale."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice, or both ends."""
        return self.choices or (self.low, self.high)


def parse(texts: Sequence[str]) -> list[Dimension]:
    """The dimensions of `KEY=8,16,64` (a list) and `KEY=1e-5..1e-4` (a range, on a log scale over a decade or more).

    Raises `RetuneError` for what is neither.
    """
    if not texts:
        raise RetuneError("nothing to try: name a key and its values, say -S training.learning_rate=1e-5..1e-4")
    found = [_dimension(text) for text in texts]
    keys = [one.key for one in found]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise RetuneError(f"-S {twice[0]} stands twice: name all its values once, with commas between them")
    return found


def _dimension(text: str) -> Dimension:
    key, equals, values = text.partition("=")
    if not equals or key.count(".") != 1 or not values:
        raise RetuneError(
            f"-S {text} is not KEY=VALUES: write -S lora.r=8,16,64 or -S training.learning_rate=1e-5..1e-4"
        )
    if ".." in values:
        low, high = (_value(text, end) for end in values.split("..", 1))
        if any(isinstance(end, bool) or not isinstance(end, int | float) for end in (low, high)) or low >= high:
            raise RetuneError(f"-S {text}: a range goes from a number to a greater one, as 1e-5..1e-4")
        whole = isinstance(low, int) and isinstance(high, int)
        return Dimension(key, (), low, high, whole, log=low > 0 and high / low >= 10)
    choices = tuple(_value(text, one) for one in values.split(","))
    if len(choices) < 2 or len({repr(one) for one in choices}) < len(choices):
        raise RetuneError(f"-S {text}: a list needs two values or more, each once, as 8,16,64")
    return Dimension(key, choices)


def _value(text: str, written: str) -> Any:
    try:
        value = yaml.load(written, Loader)
    except yaml.YAMLError:
        value = None
    if not written.strip() or isinstance(value, dict | list) or (isinstance(value, float) and not math.isfinite(value)):
        raise RetuneError(f"-S {text}: `{written}` is no single value")
    return value


def rounded(one: Dimension, value: float) -> float | int:
    """A drawn number as it is tried: whole, or of few digits, inside the range."""
    if one.whole:
        return int(value)
    return min(max(float(f"{value:.{DIGITS}g}"), one.low), one.high)


def overrides(model: str, values: dict[str, Any]) -> list[str]:
    """The values as overrides of `dvc exp run -S`."""
    return [f"++models.{model}.{key}={_written(value)}" for key, value in values.items()]


def _written(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def check(folder: Path, model: str, space: Sequence[Dimension]) -> dict[str, Any]:
    """What the model gets without the sweep. Raises `RetuneError` for a key or value that can't be tried.

    Each value is resolved as a build would, so the limits are those of params.yaml; a key counts only where some of its
    values give another training.
    """
    resolved = compiled(declarations.load(folder))[0]
    if model not in resolved["models"]:
        raise RetuneError(unknown("model", model, resolved["models"]))
    for one in space:
        if one.key in MEASURE:
            raise RetuneError(f"-S {one.key} changes what is measured on dev: its trials could not be compared")
    whole = list(itertools.islice(itertools.product(*(one.probes for one in space)), MOST))
    singles = [
        tuple(v if i == n else o.probes[0] for i, o in enumerate(space))
        for n, one in enumerate(space)
        for v in one.probes
    ]
    specs: dict[tuple[Any, ...], str] = {}
    for values in dict.fromkeys([*singles, *whole]):
        chosen = {one.key: value for one, value in zip(space, values, strict=True)}
        with set_params.tried(folder, overrides(model, chosen)) as params:
            try:
                found = compiled(declarations.load(folder, params))[0]
            except RetuneError as error:
                shown = ", ".join(f"{key}={_written(value)}" for key, value in chosen.items())
                raise RetuneError(f"with {shown}: {error}") from None
        specs[values] = repr(found["models"][model])
    for place, one in enumerate(space):
        if not any(
            a[:place] + a[place + 1 :] == b[:place] + b[place + 1 :] and specs[a] != specs[b]
            for a, b in itertools.combinations(specs, 2)
        ):
            raise RetuneError(
                f"-S {one.key} has no effect on the training of {model} beside its other values: `retune show {model}` "
                "tells what the training gets"
            )
    spec: dict[str, Any] = resolved["models"][model]
    return spec
