"""Out of memory: what was being computed is tried again in smaller pieces, and the smaller size is kept.

accelerate's `find_executable_batch_size` starts the whole work again with fewer rows in a batch, which is another
training. Here the batch stays what it is, and only the passes that it takes become more.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import torch

from retune.errors import RetuneError

log = logging.getLogger("retune")

T = TypeVar("T")
R = TypeVar("R")


class Lack(enum.Enum):
    """The type of `LACK`."""

    LACK = 0


LACK: Final = Lack.LACK
"""What `attempt` gives where memory ran out."""

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""What the messages of torch's allocators and of CUDA's libraries say where memory lacks."""

REMEDY = (
    "lower training.max_length, set training.gradient_checkpointing, take a smaller base, or (llm) an adapter and "
    "quantization.bits 4"
)


class Limit:
    """What one pass may hold: `size` of `unit` (rows, tokens); it halves where memory lacks, and stays there.

    A `fixed` one does not: where several processes share each pass (retune.training.distributed.fsdp), none may cut its
    own anew.
    """

    def __init__(self, size: int, unit: str, task: str, remedy: str = REMEDY) -> None:
        self.size, self.unit, self.task, self.remedy = size, unit, task, remedy
        self.first, self.fixed = size, False

    @property
    def messages(self) -> list[str]:
        """A sentence if the size was ever lowered."""
        if self.size == self.first:
            return []
        return [
            f"Memory ran out in {self.task}: {self.size} {self.unit} in one pass instead of {self.first}, in more "
            "passes; the result is the same."
        ]

    def lower(self, count: Callable[[int], int], single: bool) -> None:
        """Halve the size until `count(size)`, of passes or of the rows in one, changes: until passes shrink.

        Raises `RetuneError` where they cannot, as each holds a `single` row.
        """
        if self.fixed:
            raise RetuneError(
                f"memory ran out in {self.task}, in a pass of {self.size} {self.unit} that all processes share "
                "(hardware.sharding), which is not tried again: lower training.packed_tokens or training.max_length"
            )
        size, before = self.size, count(self.size)
        while not single and size > 1:
            size //= 2
            if count(size) != before:
                self.size = size
                log.warning("memory ran out in %s: %d %s in one pass from now on", self.task, size, self.unit)
                return
        raise RetuneError(f"memory ran out in {self.task} in the smallest possible pass: {self.remedy}")


def attempt(work: Callable[[], R]) -> R | Lack:
    """What `work()` gives; or `LACK` where memory ran out, and what the work held is freed."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not lacks(error):
            raise
    gc.collect()  # only here, behind the block: the error's traceback held every tensor of the failed pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    return LACK


@contextlib.contextmanager
def explained(task: str) -> Iterator[None]:
    """Turn a lack of memory in the block, which nothing can halve, into a `RetuneError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not lacks(error):
            raise
        raise RetuneError(f"memory ran out in {task}: {REMEDY}") from error


def lacks(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or in the machine."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def in_batches(
    rows: Sequence[T],
    limit: Limit,
    work: Callable[[Sequence[T]], R],
    within: Callable[[int, int], int] | None = None,
) -> Iterator[tuple[Sequence[T], R]]:
    """Each batch of `rows`, in their order, with what `work(batch)` gives; one that memory lacks for is cut smaller.

    `within(start, size)` says how many rows from `start` on make a batch of that size (default: the size counts rows).
    """
    start = 0

    def count(size: int) -> int:
        return within(start, size) if within else min(size, len(rows) - start)

    while start < len(rows):
        tried = count(limit.size)
        batch = rows[start : start + tried]
        found = attempt(functools.partial(work, batch))
        if found is LACK:
            limit.lower(count, single=tried == 1)
            continue
        yield batch, found
        start += tried
