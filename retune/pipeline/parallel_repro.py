"""Several `dvc repro` side by side (`retune repro`), each with its share of the machine.

DVC runs one stage after the other, and most stages keep one core busy: they import, parse, write, hash. Here targets
that do not depend on each other go through a queue: first what all share (checkpoints, data), then the models, then the
rest. What is built is what `dvc repro` builds; DVC's own locks keep the runs apart.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from retune import params
from retune.errors import RetuneError, unknown
from retune.progress import bar

DATA = ("download", "convert", "augment", "split")
MODEL = ("train", "predict", "calibrate", "evaluate")
"""The stages of a task's data and of a model, in their order."""


def repro(tasks: list[str], jobs: int) -> None:
    """Build `tasks` (none: everything), `jobs` chains of stages at a time; what they print is marked with the chain.

    Raises `RetuneError` for an unknown task, and where a stage failed; what other jobs have begun is ended first.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("retune: terminated"))
    if subprocess.run(["dvc", "repro", "resolve"], check=False).returncode:
        raise RetuneError("the declarations could not be resolved: see above")
    resolved = params.load()
    if odd := [task for task in tasks if task not in resolved.tasks]:
        raise RetuneError(unknown("task", odd[0], list(resolved.tasks)))
    for phase in phases(resolved, tasks or list(resolved.tasks)):
        _side_by_side(phase, jobs)
    rest = [f"compare@{task}" for task in tasks]  # none named: all that is left, the report included
    if subprocess.run(["dvc", "repro", *rest], check=False).returncode:
        raise RetuneError("the last stages failed: see above")


def phases(resolved: Any, tasks: list[str]) -> list[dict[str, list[str]]]:
    """Name -> stages in their order, in phases: the stages of a phase build on those of the phases before, alone."""
    models = {name: model for name, model in resolved.models.items() if model.task in tasks}
    bases = dict.fromkeys(model.base for model in models.values())
    longest_first = sorted(models, key=lambda name: -_cost(models[name]))
    return [
        {f"download_base@{base}": [f"download_base@{base}"] for base in bases}
        | {task: [f"{stage}@{task}" for stage in DATA] for task in tasks},
        {name: [f"{stage}@{name}" for stage in MODEL] for name in longest_first}
        | {f"explore@{task}": [f"explore@{task}"] for task in tasks},
    ]


def _cost(model: Any) -> int:
    """How long a model takes, roughly, for the longest to begin first."""
    trained, large = model.get("training", {}).get("epochs", 0) > 0, model.learner == "llm"
    return 4 * (large and trained) + 2 * trained + large + 2 * bool(model.get("training", {}).get("thinking"))


def _side_by_side(chains: dict[str, list[str]], jobs: int) -> None:
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in chains:
        waiting.put(name)
    failed: list[str] = []
    running: dict[str, subprocess.Popen[bytes]] = {}
    say = tqdm.write if sys.stderr.isatty() else functools.partial(print, flush=True)
    with bar(total=len(chains), desc="build", unit="chain") as done:

        def work(number: int) -> None:
            environment = _share(number, jobs)
            while not failed:
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                # stage by stage: DVC would lock even the outputs of a stage above that has nothing to do
                command = ["dvc", "--wait-for-lock", "repro", "--single-item", *chains[name]]
                with subprocess.Popen(
                    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
                ) as running[name]:
                    for line in _lines(running[name]):
                        say(f"{name} | {line}")
                if running.pop(name).returncode:
                    failed.append(name)
                done.update()
                done.set_postfix_str(", ".join(running))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(min(jobs, len(chains)))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # stopped: so are the runs, dvc and stage; what is finished stays
            failed.append("stopped")
            for process in list(running.values()):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            raise
    if failed:
        raise RetuneError(f"{', '.join(failed)} failed: its lines above say why; the same command goes on from there")


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a run that say something; so does each drawing of a progress bar, one in ten seconds."""
    assert process.stdout is not None
    for line in io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace"):
        if said := line.strip():
            yield said


def _share(number: int, jobs: int) -> dict[str, str]:
    """The environment of job `number`: its GPUs; and this thread, whose children inherit it, gets its cores."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if devices := _gpus():
        mine = devices[number::jobs] or [devices[number % len(devices)]]
        return environment | {"CUDA_VISIBLE_DEVICES": ",".join(mine)}
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[number::jobs] or [cores[number % len(cores)]])
    return environment


def _gpus() -> list[str]:
    """The CUDA GPUs that this process may use, without an import of torch."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [one for one in visible.split(",") if one]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU"))]
