"""Progress bars: one look everywhere, readable in a terminal and in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(
    items: Iterable[Any] | None = None, *, total: float | None = None, desc: str = "", unit: str = "it", **more: Any
) -> tqdm:
    """A tqdm bar with an estimate of the time left; without a terminal (under DVC or CI) a line every ten seconds."""
    terminal = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        desc=desc,
        unit=unit,
        mininterval=0.2 if terminal else 10.0,
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        leave=terminal,
        **more,
    )
