"""Worker processes that fork from one that has torch and the like imported, in place of new interpreters.

`monkeypatch.setattr(launch, "multiprocessing", fork_server)`: the processes of `retune.training.distributed.launch`
are then as clean as spawned ones, and start in an instant.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from tests.support.warm_python import HEAVY

parent_process = multiprocessing.parent_process


class Process(ForkServerProcess):
    """A process that writes where this one does, and has its environment, both as they are now."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> None:
        super().__init__(target=_run, args=(target, args, Streams(), dict(os.environ)), daemon=daemon)


class Context(ForkServerContext):
    """A context of such processes."""

    Process = Process


class Streams:
    """Standard output and error, which are handed over when a process starts."""

    def __reduce__(self) -> Any:
        return _take, (reduction.DupFd(1), reduction.DupFd(2))


def _take(*received: Any) -> None:
    for place, descriptor in enumerate(received, start=1):
        os.dup2(descriptor.detach(), place)


def _run(target: Callable[..., None], args: tuple[Any, ...], _: None, environment: dict[str, str]) -> None:
    gc.freeze()
    os.environ.update(environment)
    target(*args)


def get_context(_: str) -> Context:
    """The context, whatever the method that is asked for."""
    context = Context()
    context.set_forkserver_preload([*HEAVY, "torch.distributed"])
    return context
