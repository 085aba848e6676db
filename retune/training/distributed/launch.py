"""The worker processes of a data parallel training (`hardware.processes`): started, watched and ended by the stage.

Each runs the learner's whole `fit`, on its own GPU or its share of the cores, and knows of the others through
`retune.training.distributed.data_parallel` alone. The one of rank 0 logs, evaluates, saves and writes the model; what
the others print goes to a file each. An error of one is the error of the stage, and none outlives it.
"""

from __future__ import annotations

import contextlib
import enum
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
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

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

F = TypeVar("F", bound="Fit")

log = logging.getLogger("retune")

GRACE_SECONDS = 2.0
"""How long the other workers may take to tell why, when one has failed."""


class Status(enum.IntEnum):
    """How a worker ended; of several failures the gravest is looked at first."""

    DONE = 0  # with its result
    REFUSED = 1  # with a `RetuneError`
    CRASHED = 2  # with another error
    DIED = 3  # without a word


@dataclass(frozen=True)
class Outcome:
    """What a worker sends when it ends: its result, or the text of its error."""

    status: Status
    result: Any = None
    error: str = ""


@dataclass(frozen=True)
class Worker:
    """One process of a training: its place among all, and the arguments of its `fit`."""

    rank: int
    world_size: int
    gpu: str | None  # as `CUDA_VISIBLE_DEVICES` names it; None: the processor
    store_port: int  # of the store at which the processes meet
    outcome: connection.Connection  # takes its `Outcome`
    log_files: list[str]
    fit: Fit
    spec: Params
    train: pl.DataFrame
    dev: pl.DataFrame
    base: Path
    out: Path
    scratch: Path
    more: tuple[Any, ...]  # what else its `fit` takes

    def run_fit(self) -> Training:
        """The record of its training."""
        return self.fit(self.spec, self.train, self.dev, self.base, self.out, self.scratch, *self.more)


def in_parallel(fit: F) -> F:
    """Let a learner's `fit` be run by as many processes as its `hardware` section says."""

    @functools.wraps(fit)
    def run(
        spec: Params, train: pl.DataFrame, dev: pl.DataFrame, base: Path, out: Path, scratch: Path, *more: Any
    ) -> Training:
        is_worker, untuned = data_parallel.active(), not spec.training.epochs
        world_size = 1 if is_worker or untuned else hardware.processes(spec.hardware)
        if world_size == 1:
            return fit(spec, train, dev, base, out, scratch, *more)
        return _launch(run, world_size, spec, train, dev, base, out, scratch, *more)

    return cast("F", run)


def _launch(
    fit: Fit, world_size: int, spec: Params, train: Any, dev: Any, base: Path, out: Path, scratch: Path, *more: Any
) -> Training:
    """Run `fit` in `world_size` workers; the result of rank 0. The others write their model where it is thrown away."""
    folders = [out, *(scratch / "ranks" / str(rank) for rank in range(1, world_size))]
    gpus = hardware.gpus(world_size) if hardware.device_type(spec.hardware) == "cuda" else None
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")  # forked ones would inherit locked threads of polars and torch
    log.info("processes %d: each computes its rows of every batch", world_size)
    processes: list[Any] = []
    receivers: dict[Any, int] = {}  # the receiving end of each worker's pipe, and its rank
    try:
        for rank, folder in enumerate(folders):
            folder.mkdir(parents=True, exist_ok=True)
            receiver, sender = context.Pipe(duplex=False)
            worker = Worker(
                rank=rank,
                world_size=world_size,
                gpu=gpus[rank] if gpus else None,
                store_port=store.port,
                outcome=sender,
                log_files=[] if rank else _log_files(),
                fit=fit,
                spec=spec,
                train=train,
                dev=dev,
                base=base,
                out=folder,
                scratch=scratch,
                more=more,
            )
            process = context.Process(target=_run_worker, args=(worker,), daemon=True)
            process.start()
            sender.close()
            processes.append(process)
            receivers[receiver] = rank
        result = _wait_for_result(receivers, processes)
        for process in processes:
            process.join(GRACE_SECONDS)
        return result
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        for folder in folders[1:]:
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for_result(receivers: dict[Any, int], processes: list[Any]) -> Training:
    """The result of rank 0 when all are done; a `RetuneError` as soon as one of them has failed."""
    outcomes: dict[int, Outcome] = {}
    waiting = set(receivers)
    while waiting:
        failed = _failed(outcomes)
        ready: list[Any] = connection.wait(waiting, timeout=GRACE_SECONDS if failed else None)
        if failed and not ready:
            break
        for receiver in ready:
            waiting.remove(receiver)
            try:
                outcomes[receivers[receiver]] = receiver.recv()
            except EOFError:
                outcomes[receivers[receiver]] = Outcome(Status.DIED)
    failed = sorted(_failed(outcomes), key=lambda rank: -outcomes[rank].status)
    if not failed:
        result: Training = outcomes[0].result
        return result
    refused = [rank for rank, outcome in outcomes.items() if outcome.status == Status.REFUSED]
    rank = refused[0] if refused else failed[0]
    raise RetuneError(_failure(rank, outcomes[rank], processes))


def _failed(outcomes: dict[int, Outcome]) -> list[int]:
    return [rank for rank, outcome in outcomes.items() if outcome.status != Status.DONE]


def _failure(rank: int, outcome: Outcome, processes: list[Any]) -> str:
    """Why a worker has failed, in words."""
    if outcome.status == Status.REFUSED:
        return outcome.error
    name = f"process {rank + 1} of {len(processes)}"
    if outcome.status == Status.CRASHED:
        log.error("%s:\n%s", name, outcome.error)
        return f"{name} failed: {outcome.error.strip().splitlines()[-1]}"
    processes[rank].join(GRACE_SECONDS)
    code = processes[rank].exitcode
    ended = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with code {code}"
    hint = "; that is what Linux does when memory runs out" if code == -signal.SIGKILL else ""
    return f"{name} {ended}{hint}: run `dvc repro` to go on from the last checkpoint"


def _log_files() -> list[str]:
    """The files that the stage logs to."""
    return [handler.baseFilename for handler in log.handlers if isinstance(handler, logging.FileHandler)]


def _run_worker(worker: Worker) -> None:
    """The whole life of one process: join the process group, fit, send the outcome."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stage gets it too, and ends its processes
    _set_up_output(worker)
    tqdm.set_lock(threading.RLock())  # its own lock is shared by processes, and would be left behind
    try:
        if worker.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = worker.gpu  # before the first use of CUDA
        store = distributed.TCPStore("127.0.0.1", worker.store_port, is_master=False)
        device_type = "cpu" if worker.gpu is None else "cuda"
        data_parallel.init_process_group(device_type, store, worker.rank, worker.world_size)
        result = worker.run_fit()
        worker.outcome.send(Outcome(Status.DONE, result if worker.rank == 0 else None))
    except RetuneError as error:
        worker.outcome.send(Outcome(Status.REFUSED, error=str(error)))
    except BaseException:
        worker.outcome.send(Outcome(Status.CRASHED, error=traceback.format_exc()))
    sys.stdout.flush()
    os._exit(0)  # the outcome is sent; tearing down a group whose members are gone could hang


def _set_up_output(worker: Worker) -> None:
    """Log as the stage does; what ranks above 0 print goes into a file beside their folder."""
    if worker.rank:
        output = os.open(worker.out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    for file in worker.log_files:
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
