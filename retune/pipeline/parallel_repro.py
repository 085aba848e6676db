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
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from retune import params
from retune.errors import RetuneError, unknown
from retune.pipeline import disk_error, processes, recovery, remote, seeds, set_params
from retune.progress import bar

DATA = ("download", "convert", "augment", "split")
MODEL = ("train", "predict", "calibrate", "evaluate")
"""The stages of a task's data and of a model, in their order."""

ENDING = ((signal.SIGINT, 4.0), (signal.SIGTERM, 0.5), (signal.SIGKILL, 2.0))
"""How a run of DVC is ended: one signal after the other, and the seconds that it has."""


def repro(tasks: list[str], jobs: int, pull: bool = False, overrides: Sequence[str] = ()) -> None:
    """Build `tasks` (none: everything), `jobs` chains of stages at a time; what they print is marked with the chain.

    With `pull`, what another clone built of the same inputs and pushed is taken from the remote instead. `overrides`
    of params.yaml are written into it first.

    Raises `RetuneError` for an unknown task, for an override that can't be, and where a stage failed; what other jobs
    have begun is ended first.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: sys.exit("retune: terminated"))
    try:
        with recovery.alone():
            _say_recovered()
            recovery.keep()
            if overrides:
                set_params.write(Path(), overrides)
            try:
                _build(tasks, jobs, pull)
            finally:
                _say_recovered()
    except KeyboardInterrupt:
        sys.exit("retune: stopped; the same command goes on from there")
    except OSError as error:
        if said := disk_error.sentence(error):
            raise RetuneError(said) from error
        raise


def _say_recovered() -> None:
    for line in recovery.recover():
        print(f"retune: {line}", file=sys.stderr, flush=True)


def _build(tasks: list[str], jobs: int, pull: bool) -> None:
    seeds.prepare(_stages_of_seeds)
    _alone(["resolve"], "the declarations could not be resolved")
    resolved = params.load()
    if odd := [task for task in tasks if task not in resolved.tasks]:
        raise RetuneError(unknown("task", odd[0], list(resolved.tasks)))
    if pull:
        remote.take([f"compare@{task}" for task in tasks], functools.partial(print, flush=True))
    for phase in phases(resolved, tasks or list(resolved.tasks)):
        _side_by_side(phase, jobs)
    # none named: all that is left, the report included
    _alone([f"compare@{task}" for task in tasks], "the last stages failed")


def _stages_of_seeds() -> dict[str, Any]:
    from retune.pipeline.resolve import resolve

    return resolve(Path()).seeded


def phases(resolved: Any, tasks: list[str]) -> list[dict[str, list[str]]]:
    """Name -> stages in their order, in phases: the stages of a phase build on those of the phases before, alone."""
    models = {name: model for name, model in resolved.models.items() if model.task in tasks}
    bases = dict.fromkeys(model.base for model in models.values())
    exports = resolved.get("exports", {})
    handed_on = {model: [f"export@{name}" for name in exports if exports[name].model == model] for model in models}
    ensembles = resolved.get("ensembles", {})
    means = {name: [f"ensemble@{name}"] for name, one in ensembles.items() if one.task in tasks}
    starts = {name: [f"warm@{name}"] for name in resolved.get("starts", {})}
    longest_first = sorted(models, key=lambda name: -_cost(models[name]))
    return [
        {f"download_base@{base}": [f"download_base@{base}"] for base in bases}
        | {task: [f"{stage}@{task}" for stage in DATA] for task in tasks},
        {
            name: [*starts.get(name, ()), *(f"{stage}@{name}" for stage in MODEL), *handed_on[name]]
            for name in longest_first
        }
        | {f"explore@{task}": [f"explore@{task}"] for task in tasks},
        *([means] if means else []),
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
            while "stopped" not in failed:  # what another chain's failure does not concern goes on
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                # stage by stage: DVC would lock even the outputs of a stage above that has nothing to do
                with _dvc(
                    ["--single-item", *chains[name]], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                ) as running[name]:
                    if "stopped" in failed:  # between the question above and here
                        _end([running[name]])
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
            _end(list(running.values()))
            raise
    if failed:
        raise RetuneError(f"{', '.join(failed)} failed: its lines above say why; the same command goes on from there")


def _dvc(arguments: list[str], **more: Any) -> subprocess.Popen[bytes]:
    """A `dvc repro` in a process group of its own, with its stages, that ends with this process, however that ends."""
    command = processes.with_parent(["dvc", "--wait-for-lock", "repro", *arguments])
    return subprocess.Popen(command, start_new_session=True, **more)


def _alone(arguments: list[str], problem: str) -> None:
    """One `dvc repro`, with the terminal for itself."""
    with _dvc(arguments) as process:
        try:
            process.wait()
        except BaseException:
            _end([process])
            raise
    if process.returncode:
        raise RetuneError(f"{problem}: see above")


def _end(running: list[subprocess.Popen[bytes]]) -> None:
    """End runs of DVC and their stages: as Ctrl-C does, which DVC lets its stage answer, and then with force."""
    with contextlib.suppress(ValueError):  # not the main thread, which does that itself
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # this is the end already, and takes seconds
    for number, seconds in ENDING:
        for process in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(_group_lives(process) for process in running):
            time.sleep(0.1)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything is left of a run: DVC, or a stage that it left behind."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines of a run that say something; so does each drawing of a progress bar, one in ten seconds."""
    assert process.stdout is not None
    for line in io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace"):
        if said := line.strip():
            # DVC's advice in a conflict of locks would break the build that holds them
            alone = said.startswith("If there are no processes with such PIDs")
            yield "wait for that process or end it, then run this again" if alone else said


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
