"""Trials side by side, each with its share of the machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from retune.pipeline import scheduler
from retune.sweep.record import Trial


def run(
    jobs: int,
    take: Callable[[], Trial | None],
    work: Callable[[Trial, Callable[[], bool], Mapping[str, str]], None],
) -> None:
    """Do `work` on what `take` gives, until it gives None, `jobs` at a time.

    `take` is called by one at a time. `work` is told whether to stop, and its environment. An error, or Ctrl-C, stops
    all and is raised.
    """
    stopped, alone = threading.Event(), threading.Lock()

    def worker(number: int) -> None:
        environment = scheduler.share(number, jobs) if jobs > 1 else os.environ
        while not stopped.is_set():
            with alone:
                one = take()
            if one is None:
                return
            work(one, stopped.is_set, environment)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(worker, number) for number in range(jobs)]):
                done.result()
        finally:
            stopped.set()
