"""Out of memory: what was being computed is tried again in smaller batches, and the smaller size is kept.

accelerate's `find_executable_batch_size` starts the whole work again with fewer rows in a batch, which is another
training. Here the batch stays what it is, and only its micro-batches become smaller.
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


class OutOfMemory(enum.Enum):
    """The type of `OOM`."""

    OOM = 0


OOM: Final = OutOfMemory.OOM
"""What `run_or_oom` gives where memory ran out."""

OOM_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""What torch's allocators and CUDA's libraries say where memory ran out."""

REMEDY = (
    "lower training.max_length, set training.gradient_checkpointing, take a smaller base, or (llm) an adapter and "
    "quantization.bits 4"
)


class Limit:
    """The most that one forward pass may hold: `size` of `unit` (rows, tokens); halved where memory runs out.

    A `fixed` one is not: where several processes share each pass (retune.training.distributed.fsdp), none may make its
    own smaller.
    """

    def __init__(self, size: int, unit: str, task: str, remedy: str = REMEDY) -> None:
        self.size, self.unit, self.task, self.remedy = size, unit, task, remedy
        self.initial_size, self.fixed = size, False

    @property
    def messages(self) -> list[str]:
        """A sentence if the size was ever lowered."""
        if self.size == self.initial_size:
            return []
        return [
            f"Memory ran out in {self.task}: {self.size} {self.unit} in one forward pass instead of "
            f"{self.initial_size}, in more passes; the result is the same."
        ]

    def lower(self, count: Callable[[int], int]) -> None:
        """Halve the size until `count(size)`, of passes or of the rows in one, changes: until passes shrink.

        Raises `RetuneError` where they cannot, as each holds a single row or input.
        """
        if self.fixed:
            raise RetuneError(
                f"memory ran out in {self.task}, in a forward pass of {self.size} {self.unit} that all processes share "
                "(hardware.sharding), which is not tried again: lower training.packed_tokens or training.max_length"
            )
        size, before = self.size, count(self.size)
        while size > 1:
            size //= 2
            if count(size) != before:
                self.size = size
                log.warning("memory ran out in %s: %d %s in one forward pass from now on", self.task, size, self.unit)
                return
        raise RetuneError(f"memory ran out in {self.task} in the smallest possible forward pass: {self.remedy}")


def run_or_oom(work: Callable[[], R]) -> R | OutOfMemory:
    """What `work()` gives; or `OOM` where memory ran out, and what the work held is freed."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
    gc.collect()  # only here, behind the block: the error's traceback held every tensor of the failed pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    return OOM


@contextlib.contextmanager
def explain_oom(task: str) -> Iterator[None]:
    """Turn an out-of-memory error in the block, which no smaller batch can help, into a `RetuneError`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
        raise RetuneError(f"memory ran out in {task}: {REMEDY}") from error


def is_oom(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or in the machine."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in OOM_MESSAGES)
    )


def in_batches(
    rows: Sequence[T],
    limit: Limit,
    work: Callable[[Sequence[T]], R],
    rows_within: Callable[[int, int], int] | None = None,
) -> Iterator[tuple[Sequence[T], R]]:
    """Each batch of `rows`, in their order, with what `work(batch)` gives; smaller batches where memory runs out.

    `rows_within(start, size)` says how many rows from `start` on make a batch of that size (default: `size` rows).
    """
    start = 0

    def count(size: int) -> int:
        return rows_within(start, size) if rows_within else min(size, len(rows) - start)

    while start < len(rows):
        batch_size = count(limit.size)
        batch = rows[start : start + batch_size]
        result = run_or_oom(functools.partial(work, batch))
        if result is OOM:
            limit.lower(count)
            continue
        yield batch, result
        start += batch_size
