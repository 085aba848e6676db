"""Progress bars: one look everywhere, readable in a terminal and in a log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

_HIDDEN: ContextVar[bool] = ContextVar("hidden", default=False)


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Show no bars in the block, in this thread: those of a server's small batches would fill its log."""
    before = _HIDDEN.set(True)
    try:
        yield
    finally:
        _HIDDEN.reset(before)


def bar(
    items: Iterable[Any] | None = None, *, total: float | None = None, desc: str = "", unit: str = "it",
    disable: bool = False, **more: Any,
) -> tqdm:  # fmt: skip
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
        disable=disable or _HIDDEN.get(),
        **more,
    )
