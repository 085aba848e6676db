"""What a training begins with where its model starts warm: the last version, or why there is none.

The stage `warm` decides and writes it, the training reads it. A last version is a start where it fits (the same base,
for an LLM the same adapter), and where every row that it learned from is still a training row with the same answer: so
a model that starts warm has seen nothing that one which starts cold does not see, no row that was taken out, none that
is in another split now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.data.learned import Changes

FILE, MODEL = "start.json", "model"
ABSENT = "there is no last version of it here (the first build, or it was not pulled)"
CHANGED = "what lies in its folder is not what dvc.lock says"
UNKNOWN = "its last version does not say which rows it learned from: it was built without warm_start"


@dataclass(frozen=True)
class Start:
    """`cold`: why a training begins with the base; None where it begins with the version whose hash is `of`.

    `rows` counts the training rows then and now, where a last version tells them; `labels` are those that it lacks.
    """

    cold: str | None
    of: str | None = None
    rows: Mapping[str, int] | None = None
    labels: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """For log and report."""
        if self.cold is not None:
            return f"Starts cold, from its base: {self.cold}."
        assert self.of is not None
        assert self.rows is not None
        new = [f"{self.rows['added']:,} {'row' if self.rows['added'] == 1 else 'rows'}"] if self.rows["added"] else []
        new += [f"the {'label' if len(self.labels) == 1 else 'labels'} {', '.join(self.labels)}"] if self.labels else []
        return (
            f"Starts warm, from its last version ({self.of[:7]}): the {self.rows['then']:,} rows that it learned from "
            f"are training rows still, new are {' and '.join(new)}."
        )


def unfit(last: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What of `now`, the section of a model's start, the parameters of its last version do not have; in words."""
    for key, value in now.items():
        if key in ("task", "labels"):
            continue
        for name, one in value.items() if isinstance(value, dict) else [("", value)]:
            had = last.get(key, {}).get(name) if name else last.get(key)
            if had != one:
                return f"its last version has {key}{'.' * bool(name)}{name} {had}, which is {one} now"
    return None


def decide(unfit: str | None, rows: Changes | None, labels: tuple[str, ...], of: str) -> Start:
    """The start by the rule above; `labels`: those of the task that the last version `of` lacks."""
    if unfit or rows is None:
        return Start(unfit or UNKNOWN)
    counts = asdict(rows)
    if rows.changed or rows.gone:
        ways = [(rows.changed, "have another answer now"), (rows.gone, "are no training rows any more")]
        said = " and ".join(f"{number:,} {what}" for number, what in ways if number)
        why = f"of the {rows.then:,} rows that its last version learned from {said}, {rows.kept:,} are kept"
        return Start(f"{why} and {rows.added:,} new", rows=counts)
    if not rows.added and not labels:
        return Start("no row and no label is new since its last version", rows=counts)
    return Start(None, of, counts, labels)


def write(start: Start, folder: Path) -> None:
    """Put it beside the model that it speaks of."""
    (folder / FILE).write_text(json.dumps(asdict(start), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> tuple[Start, Path | None]:
    """What `write` wrote, and the folder of the version to begin with. Raises `RetuneError` where it is not here."""
    file, model = folder / FILE, folder / MODEL
    if not file.is_file():
        raise RetuneError(
            f"{folder} is missing, with which the training begins: `dvc checkout {folder}`, or `dvc pull`"
        )
    found = json.loads(file.read_text(encoding="utf-8"))
    start = Start(**{**found, "labels": tuple(found["labels"])})
    return start, None if start.cold else model
