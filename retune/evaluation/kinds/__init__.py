"""How the predictions of a task kind are measured: one module each, found by its name (`retune.evaluation.kinds.KIND`).

Each has

- `METRICS`, the names in the order of the report, and `CENTRED`, those to which resampling only adds (see bootstrap);
- `columns(spec, given)`, what it reads of predictions with the columns `given`; a row is unparsed where one is null;
- `calibrate(joined, spec)`, what is fitted on the calibration split, with `messages`;
- `answers(joined, fitted, spec, splits)`, one model's answers to n rows (a NamedTuple whose fields are [n] or the same
  for all rows, with `take(order)`), and `order(answers)`, in which they are measured fastest;
- `measure(answers, weights)`, every metric, [...], of row weights [..., n]; NaN where a metric has no meaning;
- `ignorant(answers)`, the answers of one who knows only how frequent the targets are;
- `wins(a, b)`: in how many rows (queries) only a is right (better), only b is, and the share in which they are alike;
- `write(folder, joined, fitted, spec, splits)`: the files that the report and DVC's plots read;
- `disagreements(joined, models)`: rows on which the models differ.

`joined` are the rows of a split with the predictions beside them (retune.evaluation.predictions.join), with all of
their columns, `spec` a section
of the task (calibration, evaluation), `splits` the summary.json of its splits, `fitted` what `calibrate` gave.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def of(kind: str) -> Any:
    """The module of a task kind."""
    return import_module(f"retune.evaluation.kinds.{kind}")
