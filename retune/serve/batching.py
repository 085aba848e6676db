"""Dynamic batching: rows of all waiting requests, computed together by one worker thread.

An idle worker begins at once, and while it computes, requests gather: no timer holds anything back. A batch is filled
in rounds, a row of each waiting request in the order of their arrival, so a request of one row is in the next batch
however many rows the others have. Its size follows from what batches took, so that one takes about `seconds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from retune import progress

FIRST = 2048
"""The cost of the first full batch: tokens, about as many as fill a processor (retune.encoders.forward)."""
LOWEST, HIGHEST = 1024, 2**18
"""Of a batch's size: smaller ones take more time for each row, so that all would wait longer."""


class QueueFull(Exception):
    """More rows would wait than may; `waiting` do."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} rows wait")
        self.waiting = waiting


@dataclass(eq=False)
class Job:
    """The rows of one request; `work` says what is asked of them, and only rows of the same work share a batch."""

    work: str
    rows: Sequence[Any]
    costs: Sequence[int]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[Any]]
    taken: int = 0
    found: list[Any] = field(default_factory=list)


Part = tuple[Job, Sequence[Any]]
"""What a batch has of one job."""


class Batcher:
    """A worker thread that computes `compute(work, rows)`, an answer for each row, for whoever awaits `ask`.

    `queue`: the most rows that may wait; `observe(rows, seconds)` is told of each batch. Where a batch fails, its jobs
    are computed one by one, so that only the one that is the cause fails.
    """

    def __init__(
        self,
        name: str,
        compute: Callable[[str, list[Any]], Sequence[Any]],
        queue: int,
        seconds: float,
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        self.compute, self.queue, self.seconds, self.observe = compute, queue, seconds, observe
        self.size, self.waiting, self.closed = FIRST, 0, False
        self.jobs: OrderedDict[str, list[Job]] = OrderedDict()  # by work, the one that was served longest ago first
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name=f"batches of {name}", daemon=True)
        self.thread.start()

    async def ask(self, work: str, rows: Sequence[Any], costs: Sequence[int], timeout: float) -> list[Any]:
        """What is computed of each row. Raises `QueueFull` at once, `TimeoutError` after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        job = Job(work, rows, costs, loop, loop.create_future())
        with self.changed:
            if self.waiting + len(rows) > self.queue:
                raise QueueFull(self.waiting)
            self.waiting += len(rows)
            self.jobs.setdefault(work, []).append(job)
            self.changed.notify()
        try:
            async with asyncio.timeout(timeout):
                return await job.answer
        finally:
            if job.taken < len(rows):
                self._forget(job)

    def close(self) -> None:
        """End the worker; what still waits is not answered."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def _forget(self, job: Job) -> None:
        """Leave out what nobody waits for any more."""
        with self.changed:
            if job in (jobs := self.jobs.get(job.work, [])):
                jobs.remove(job)
                self.waiting -= len(job.rows) - job.taken
                if not jobs:
                    del self.jobs[job.work]

    def _run(self) -> None:
        with progress.hidden():
            while parts := self._next():
                start = time.perf_counter()
                answers = self._answers(parts)
                seconds = time.perf_counter() - start
                self.observe(sum(len(rows) for _, rows in parts), seconds)
                self._deliver(parts, answers)
                self._learn(sum(sum(job.costs[job.taken - len(rows) : job.taken]) for job, rows in parts), seconds)

    def _next(self) -> list[Part]:
        """The next batch, as soon as anything waits; none when the worker is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.jobs or self.closed)
            if self.closed:
                return []
            work, jobs = next(iter(self.jobs.items()))
            counts = shares([job.costs[job.taken :] for job in jobs], self.size)
            parts = []
            for job, count in zip(jobs, counts, strict=True):
                if count:
                    parts.append((job, job.rows[job.taken : job.taken + count]))
                    job.taken += count
            self.waiting -= sum(counts)
            del self.jobs[work]
            if rest := [job for job in jobs if job.taken < len(job.rows)]:
                self.jobs[work] = rest
            return parts

    def _answers(self, parts: list[Part]) -> list[Sequence[Any] | Exception]:
        """The answers of each part, or why there are none."""
        work = parts[0][0].work
        try:
            found = self.compute(work, [row for _, rows in parts for row in rows])
        except Exception as error:  # told to whoever asked
            if len(parts) == 1:
                return [error]
            return [self._answers([part])[0] for part in parts]
        answers: list[Sequence[Any] | Exception] = []
        start = 0
        for _, rows in parts:
            answers.append(found[start : start + len(rows)])
            start += len(rows)
        return answers

    def _deliver(self, parts: list[Part], answers: list[Sequence[Any] | Exception]) -> None:
        """Hand over to the event loops, each woken once."""
        done: dict[asyncio.AbstractEventLoop, list[tuple[Job, Exception | None]]] = {}
        for (job, _), answer in zip(parts, answers, strict=True):
            if isinstance(answer, Exception):
                done.setdefault(job.loop, []).append((job, answer))
                continue
            job.found.extend(answer)
            if len(job.found) == len(job.rows):
                done.setdefault(job.loop, []).append((job, None))
        for loop, jobs in done.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, jobs)

    def _learn(self, cost: int, seconds: float) -> None:
        """Fit the size of a batch to the seconds that it may take."""
        if seconds > self.seconds:
            self.size = min(self.size, max(LOWEST, int(cost * self.seconds / seconds)))
        elif cost > self.size / 2 and seconds < self.seconds / 2:
            self.size = min(2 * self.size, HIGHEST)


def _settle(jobs: list[tuple[Job, Exception | None]]) -> None:
    for job, error in jobs:
        if job.answer.done():  # nobody waits any more
            continue
        if error is None:
            job.answer.set_result(job.found)
        else:
            job.answer.set_exception(error)


def shares(costs: Sequence[Sequence[int]], size: int) -> list[int]:
    """How many rows of each job a batch takes: a row of each in turn, while their costs stay within `size`.

    At least one row in all; the jobs are in the order of their arrival.
    """
    counts, room, unfinished = [0] * len(costs), size, list(range(len(costs)))
    while unfinished:
        following = []
        for job in unfinished:
            cost = costs[job][counts[job]]
            if cost > room and any(counts):
                return counts
            counts[job] += 1
            room -= cost
            if counts[job] < len(costs[job]):
                following.append(job)
        unfinished = following
    return counts
