"""The processes of a data parallel training (`hardware.processes`): started, watched and ended by the stage.

Each runs the learner's whole `fit`, on its own GPU or its share of the cores, and knows of the others through
`retune.training.distributed.data_parallel` alone. The first one logs, evaluates, saves and writes the model; what the
others print goes to a file each. An error of one is the error of the stage, and none outlives it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import distributed
from tqdm import tqdm

from retune.errors import RetuneError
from retune.training import hardware
from retune.training.distributed import data_parallel

if TYPE_CHECKING:
    import polars as pl

    from retune.params import Params
    from retune.training.record import Training

    Fit = Callable[..., Training]

log = logging.getLogger("retune")

DONE, SAID, FAILED, DIED = range(4)
"""How a process ended: with its result, with a `RetuneError`, with another error, or without a word."""

GRACE = 2.0
"""Seconds in which the others may tell why, when one has failed."""


def in_parallel(fit: Fit) -> Fit:
    """Let a learner's `fit` be run by as many processes as its `hardware` section says."""

    @functools.wraps(fit)
    def run(
        spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path, **more: Any
    ) -> Training:
        count = 1 if data_parallel.active() or not spec.training.epochs else hardware.processes(spec.hardware)
        if count == 1:
            return fit(spec, train, dev, base, out, scratch, **more)
        return _together(functools.partial(run, **more), count, spec, train, dev, base, out, scratch)

    return run


def _together(fit: Fit, count: int, spec: Params, train: Any, dev: Any, base: Path, out: Path, scratch: Path) -> Any:
    """Run `fit` in `count` processes; the first one's result. The others write their model where it is thrown away."""
    places = [out, *(scratch / "ranks" / str(rank) for rank in range(1, count))]
    gpus = hardware.gpus(count) if hardware.device_type(spec.hardware) == "cuda" else None
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")  # forked ones would inherit locked threads of polars and torch
    log.info("processes %d: each computes its rows of every batch", count)
    running: list[Any] = []
    results: dict[Any, int] = {}
    try:
        for rank, place in enumerate(places):
            place.mkdir(parents=True, exist_ok=True)
            receive, send = context.Pipe(duplex=False)
            arguments = (fit, spec, train, dev, base, place, scratch)
            child = (rank, count, gpus and gpus[rank], store.port, send, [] if rank else _files())
            process = context.Process(target=_rank, args=(child, arguments), daemon=True)
            process.start()
            send.close()
            running.append(process)
            results[receive] = rank
        result = _watch(results, running)
        for process in running:
            process.join(GRACE)
        return result
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.join()
        for place in places[1:]:
            shutil.rmtree(place, ignore_errors=True)


def _watch(results: dict[Any, int], running: list[Any]) -> Any:
    """The first process's result when all are done; a `RetuneError` as soon as one of them has failed."""
    outcomes: dict[int, tuple[int, Any]] = {}
    waiting = set(results)
    while waiting:
        failed = [rank for rank, (how, _) in outcomes.items() if how != DONE]
        ready: list[Any] = connection.wait(waiting, timeout=GRACE if failed else None)
        if failed and not ready:
            break
        for end in ready:
            waiting.remove(end)
            try:
                outcomes[results[end]] = end.recv()
            except EOFError:
                outcomes[results[end]] = (DIED, None)
    failed = sorted((rank for rank, (how, _) in outcomes.items() if how != DONE), key=lambda r: -outcomes[r][0])
    if not failed:
        return outcomes[0][1]
    said = [rank for rank in outcomes if outcomes[rank][0] == SAID]
    rank = said[0] if said else failed[0]
    raise RetuneError(_reason(rank, len(running), outcomes[rank], running[rank]))


def _reason(rank: int, count: int, outcome: tuple[int, Any], process: Any) -> str:
    how, text = outcome
    if how == SAID:
        return str(text)
    if how == FAILED:
        log.error("process %d of %d:\n%s", rank + 1, count, text)
        return f"process {rank + 1} of {count} failed: {text.strip().splitlines()[-1]}"
    process.join(GRACE)
    code = process.exitcode
    ended = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with code {code}"
    hint = "; that is what Linux does when memory lacks" if code == -signal.SIGKILL else ""
    return f"process {rank + 1} of {count} {ended}{hint}: run `dvc repro` to go on from the last checkpoint"


def _files() -> list[str]:
    """The files that the stage logs to."""
    return [handler.baseFilename for handler in log.handlers if isinstance(handler, logging.FileHandler)]


def _rank(child: tuple[int, int, str | None, int, Any, list[str]], arguments: tuple[Any, ...]) -> None:
    """One process: take its place among the others, fit, tell the outcome."""
    rank, count, gpu, port, send, files = child
    fit, spec, *rest = arguments
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage gets it too, and ends its processes
    _speak(rank, rest[-2], files)
    tqdm.set_lock(threading.RLock())  # its own lock is shared by processes, and would be left behind
    try:
        if gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before the first word with CUDA
        store = distributed.TCPStore("127.0.0.1", port, is_master=False)
        data_parallel.join("cpu" if gpu is None else "cuda", store, rank, count)
        result = fit(spec, *rest)
        send.send((DONE, result if rank == 0 else None))
    except RetuneError as error:
        send.send((SAID, str(error)))
    except BaseException:
        send.send((FAILED, traceback.format_exc()))
    sys.stdout.flush()
    os._exit(0)  # the outcome is told; tearing down a group whose members are gone could hang


def _speak(rank: int, place: Path, files: list[str]) -> None:
    """Log as the stage does; the others than the first one print into a file beside their place."""
    if rank:
        output = os.open(place.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    for file in files:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = handlers


def _end_with_parent() -> None:
    """End this process when the stage ends, however it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        with contextlib.suppress(OSError):
            connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
