"""Rows of many requests in one batch: each request gets its own answers, in order, and waits for nobody's many rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.serve.batching import FIRST, LOWEST, Batcher, QueueFull, shares

MINUTE = 60.0


class Busy:
    """A computation that waits for leave: its batches, as they came."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any]]] = []
        self.begun, self.leave = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, work: str, rows: list[Any]) -> list[Any]:
        self.batches.append((work, rows))
        self.begun.release()
        assert self.leave.acquire(timeout=MINUTE)
        if "bad" in rows:
            raise ValueError("bad")
        return [f"{work} {row}" for row in rows]


@pytest.fixture
def started() -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def start(
        compute: Callable[[str, list[Any]], Sequence[Any]], queue: int = 1000, seconds: float = MINUTE
    ) -> Batcher:
        made.append(Batcher("test", compute, queue, seconds))
        return made[-1]

    yield start
    for one in made:
        one.close()


async def asked(batcher: Batcher, rows: Sequence[Any], work: str = "w", timeout: float = MINUTE) -> list[Any]:
    return await batcher.ask(work, rows, [1] * len(rows), timeout)


async def waiting(batcher: Batcher, rows: int) -> None:
    while batcher.waiting < rows:
        await asyncio.sleep(0.001)


def test_what_comes_while_the_model_computes_is_the_next_batch_and_nothing_waits_for_a_timer(started):
    compute = Busy()
    batcher = started(compute)

    async def scene() -> list[list[Any]]:
        first = asyncio.create_task(asked(batcher, [0]))
        await asyncio.to_thread(compute.begun.acquire)  # began with one row, at once
        others = [asyncio.create_task(asked(batcher, [number, -number])) for number in range(1, 6)]
        await waiting(batcher, 10)
        compute.leave.release(2)
        return [await task for task in (first, *others)]

    found = asyncio.run(scene())
    assert [len(rows) for _, rows in compute.batches] == [1, 10]
    assert found == [["w 0"], *[[f"w {number}", f"w {-number}"] for number in range(1, 6)]]


def test_a_single_row_is_in_the_next_batch_however_many_rows_another_request_has(started):
    compute = Busy()
    batcher = started(compute, seconds=0.0)  # so that no batch is larger than this one
    batcher.size = 4

    async def scene() -> None:
        large = asyncio.create_task(asked(batcher, list(range(20))))
        await asyncio.to_thread(compute.begun.acquire)
        small = asyncio.create_task(asked(batcher, ["small"]))
        await waiting(batcher, 17)
        compute.leave.release(2)
        assert await small == ["w small"]
        assert not large.done()
        compute.leave.release(10)
        assert await large == [f"w {number}" for number in range(20)]

    asyncio.run(scene())
    assert compute.batches[1][1] == [4, 5, 6, "small"]


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=8), min_size=1, max_size=8), st.integers(1, 200))
def test_a_batch_takes_a_row_of_each_in_turn_within_its_size(costs: list[list[int]], size: int):
    turns = [(turn, job) for turn in range(8) for job in range(len(costs)) if turn < len(costs[job])]
    taken, room = [0] * len(costs), size
    for turn, job in turns:
        if costs[job][turn] > room and any(taken):
            break
        taken[job] += 1
        room -= costs[job][turn]
    assert shares(costs, size) == taken


def test_every_request_of_many_gets_its_own_answers(started):
    batcher = started(lambda work, rows: [(work, row) for row in rows], seconds=1e-9)  # the smallest batches

    async def scene() -> None:
        rows = [[(number, place) for place in range(number % 7 + 1)] for number in range(200)]
        works = [f"work {number % 3}" for number in range(200)]
        found = await asyncio.gather(*(asked(batcher, *one) for one in zip(rows, works, strict=True)))
        assert found == [[(work, row) for row in some] for some, work in zip(rows, works, strict=True)]

    asyncio.run(scene())
    assert batcher.waiting == 0
    assert batcher.size == LOWEST


def test_different_work_shares_no_batch_and_takes_turns(started):
    compute = Busy()
    batcher = started(compute, seconds=0.0)
    batcher.size = 2

    async def scene() -> None:
        tasks = [asyncio.create_task(asked(batcher, [0], "x"))]
        await asyncio.to_thread(compute.begun.acquire)
        tasks += [asyncio.create_task(asked(batcher, list(range(4)), work)) for work in ("x", "y")]
        await waiting(batcher, 8)
        compute.leave.release(5)
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert [work for work, _ in compute.batches] == ["x", "x", "y", "x", "y"]


def test_a_row_that_fails_fails_its_own_request_alone(started):
    compute = Busy()
    batcher = started(compute)

    async def scene() -> list[Any]:
        first = asyncio.create_task(asked(batcher, [0]))
        await asyncio.to_thread(compute.begun.acquire)
        tasks = [asyncio.create_task(asked(batcher, [row])) for row in ("good", "bad", "other")]
        await waiting(batcher, 3)
        compute.leave.release(5)
        await first
        return await asyncio.gather(*tasks, return_exceptions=True)

    good, bad, other = asyncio.run(scene())
    assert (good, other) == (["w good"], ["w other"])
    assert isinstance(bad, ValueError)
    compute.leave.release()
    assert asyncio.run(asked(batcher, [1])) == ["w 1"]


def test_the_queue_is_bounded_and_has_room_again(started):
    compute = Busy()
    batcher = started(compute, queue=3)

    async def scene() -> None:
        first = asyncio.create_task(asked(batcher, [0]))
        await asyncio.to_thread(compute.begun.acquire)
        second = asyncio.create_task(asked(batcher, [1, 2]))
        await waiting(batcher, 2)
        with pytest.raises(QueueFull) as told:
            await asked(batcher, [3, 4])
        assert told.value.waiting == 2
        third = asyncio.create_task(asked(batcher, [5]))
        await waiting(batcher, 3)
        compute.leave.release(3)
        await asyncio.gather(first, second, third)
        compute.leave.release()
        assert await asked(batcher, [6, 7, 8]) == ["w 6", "w 7", "w 8"]

    asyncio.run(scene())


def test_what_nobody_waits_for_any_more_is_not_computed(started):
    compute = Busy()
    batcher = started(compute)

    async def scene() -> None:
        first = asyncio.create_task(asked(batcher, [0]))
        await asyncio.to_thread(compute.begun.acquire)
        with pytest.raises(TimeoutError):
            await asked(batcher, ["late"], timeout=0.01)
        assert batcher.waiting == 0
        compute.leave.release(2)
        await first
        assert await asked(batcher, ["next"]) == ["w next"]

    asyncio.run(scene())
    assert [rows for _, rows in compute.batches] == [[0], ["next"]]


def test_the_size_of_a_batch_follows_from_what_batches_took(started):
    batcher = started(lambda work, rows: rows, seconds=0.2)
    batcher._learn(FIRST, 0.05)
    assert batcher.size == 2 * FIRST
    batcher._learn(10, 0.01)  # nothing is learnt from a small one
    assert batcher.size == 2 * FIRST
    batcher._learn(4000, 0.5)
    assert batcher.size == 1600
    batcher._learn(1600, 100.0)
    assert batcher.size == LOWEST
