"""What the report says of the models that are handed on: whether each exported folder answers as its model does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune.report.files import read_json

if TYPE_CHECKING:
    from retune.params import Params

NOTE = (
    "Folders for others, each opened by its ecosystem's own loader in a process without this project. Compared are its "
    "answers and the model's to the same calibration rows: calibrated probabilities, or scores where there are no "
    "labels. A folder beyond what is allowed is not built; one in int8 may not be worse in the task's metric."
)


@dataclass(frozen=True)
class Parity:
    """An entry of `exports`, its model, and what stage export found."""

    name: str
    model: str
    found: dict[str, Any]

    @property
    def cells(self) -> list[str]:
        """What stands beside its name in a row of the table, in the order of `HEADS`."""
        found = self.found
        rows = f"{found['rows']:,}" + (f" ({found['cut']:,} cut, left out)" if found["cut"] else "")
        differences = (f"{found[f'{which}_difference']:.1e}" for which in ("largest", "mean"))
        return [
            self.model,
            found["form"],
            found["loader"],
            found["dtype"],
            rows,
            *differences,
            f"{found['tolerance']:g}" if found["tolerance"] is not None else _quality(found["quality"]),
            f"{found['equal_decisions']:.1%}",
        ]


def _quality(found: dict[str, Any]) -> str:
    """What 8-bit weights cost, where that decides and not the difference of single answers."""
    p = "" if found["p"] is None else f", p {'at most' if found['at_most'] else '='} {found['p']:.3f}"
    return f"{found['metric']} {found['difference']:+.3f}{p}"


TEXTS = ("Export", "Model", "Form", "Opened by")
NUMBERS = ("Numbers", "Rows", "Largest difference", "Mean difference", "Allowed", "Equal decisions")
HEADS = (*TEXTS, *NUMBERS)


def read(params: Params, root: Path = Path()) -> list[Parity]:
    """Every declared export, in their order; raises `RetuneError` naming a missing file."""
    declared = params.get("exports", {}).items()
    return [Parity(name, one.model, read_json(root / f"reports/metrics/parity/{name}.json")) for name, one in declared]
