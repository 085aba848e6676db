"""A light `fit` for the tests of data parallel training; the processes import this module by its name."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import torch

from retune.errors import RetuneError
from retune.params import Params, loads
from retune.training import hardware
from retune.training.distributed import data_parallel, launch
from retune.training.record import Training


@launch.in_parallel
def told_to(spec: Params, train: str, _dev: None, _base: Path, _out: Path, scratch: Path) -> Training:
    """A `fit` that does what `train` says in the second process, while the others wait for it."""
    (scratch / f"pid-{data_parallel.rank()}").write_text(str(os.getpid()))
    if data_parallel.rank() == 1 and train != "nothing":
        if train == "refuse":
            raise RetuneError("this row is no row")
        if train == "fail":
            raise ZeroDivisionError("division by zero")
        if train == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if train == "hang":
            time.sleep(600)
    chosen = hardware.choose(spec.hardware)
    weight = torch.nn.Parameter(torch.full((3,), float(data_parallel.rank())))
    data_parallel.broadcast_weights([weight])
    unused, halved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((3,), 1.0 + data_parallel.rank())
    if data_parallel.rank() == 1:
        halved.grad = torch.ones(2)
    data_parallel.all_reduce_gradients([weight, unused, halved])
    print("a word of", data_parallel.rank())
    return Training(
        resources={
            "weight": weight.tolist(), "gradient": weight.grad.tolist(), "unused": unused.grad,
            "halved": None if halved.grad is None else halved.grad.tolist(), "threads": chosen.threads,
            "rows": data_parallel.all_gather_object(data_parallel.local_rows([0, 1, 2, 3, 4])),
            "sum": data_parallel.all_reduce_sum([1.5, data_parallel.rank()]),
        }
    )  # fmt: skip


SPEC = loads(
    json.dumps(
        {
            "training": {"epochs": 1},
            "hardware": {"device": "cpu", "dtype": "float32", "attention": "eager", "threads": 4, "processes": 2},
        }
    )
)


def start(what: str, scratch: Path) -> Training:
    return told_to(SPEC, what, None, scratch, scratch, scratch)
