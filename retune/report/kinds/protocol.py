"""What a module `retune.report.kinds.KIND` must have, for the type checker: nothing imports this when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from retune.report.inputs import Task
from retune.report.kinds import classification, pair, ranking, scoring
from retune.report.provenance import SplitRows


class Kind(Protocol):
    """What the report shows of one task kind, beside its templates KIND.html and KIND.errors.html."""

    @property
    def LEADING(self) -> tuple[str, str]:
        """The primary metric, and one that needs no decision."""
        ...

    @property
    def COMPARED(self) -> tuple[str, ...]:
        """The metrics that comparisons show first."""
        ...

    @property
    def CONSTANT_BASELINE(self) -> str:
        """What the answers of one who knows only how frequent the targets are, are called."""
        ...

    @property
    def OVER_BASELINE(self) -> str:
        """The metric in which models are compared with the constant baseline."""
        ...

    @property
    def WINS(self) -> tuple[str, str, str]:
        """The heads of the columns of who is right where the other is not, and of how often they agree."""
        ...

    @property
    def SECTIONS(self) -> list[tuple[str, str]]:
        """Anchor and title of the kind's own parts of the page."""
        ...

    def tile(self, split: SplitRows, /) -> str:
        """The test split in a few words."""
        ...

    def split_columns(self, split: SplitRows, /) -> list[tuple[str, str]]:
        """What the targets of a split look like, as (head, cell)."""
        ...

    def read(self, folder: Path, /) -> dict[str, Any]:
        """What `retune.evaluation.details.KIND` wrote of one model."""
        ...

    def view(self, task: Task, /) -> dict[str, Any]:
        """What the templates show."""
        ...


_classification: Kind = classification
_pair: Kind = pair
_ranking: Kind = ranking
_scoring: Kind = scoring
