"""Run the units of a plan, each when those that it needs are done, the one with the longest way behind it first."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time

from tqdm import tqdm

from retune.errors import RetuneError
from retune.pipeline import dvc_run
from retune.pipeline.impact import duration
from retune.pipeline.plan import Plan, Unit
from retune.progress import bar

BAR = "{desc}: {n_fmt} of {total_fmt} stages |{bar}| {elapsed}{postfix}"


def run(plan: Plan, jobs: int) -> None:
    """Build the units, `jobs` at a time, each with its share of the machine; their lines are marked with their names.

    Raises `RetuneError` where one failed, when what does not need it is built. Whatever ends this ends its runs.
    """
    total = sum(len(unit.stages) for unit in plan.units.values())
    with bar(total=total, desc="build", unit="stage", bar_format=BAR, disable=not total) as shown:
        scheduler = _Scheduler(plan, jobs, shown)
        threads = [threading.Thread(target=scheduler.work, args=(number,)) for number in range(min(jobs, total))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # stopped: so are the runs, dvc and stage; what is finished stays
            scheduler.stop()
            raise
    if scheduler.broken:
        raise scheduler.broken
    if scheduler.failed:
        raise RetuneError(scheduler.failure())


class _Scheduler:
    """What is waiting, running, done and failed, which all workers see."""

    def __init__(self, plan: Plan, jobs: int, shown: tqdm) -> None:
        self.plan, self.jobs, self.shown = plan, jobs, shown
        self.changed = threading.Condition()  # held for all below
        self.waiting, self.done, self.stopped = set(plan.units), set[str](), False
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.begun: dict[str, float] = {}
        self.failed: dict[str, str] = {}  # unit -> which stage, and why
        self.broken: Exception | None = None  # what ended a worker
        self.say = tqdm.write if sys.stderr.isatty() else functools.partial(print, flush=True)

    def work(self, number: int) -> None:
        """One worker: a unit after the other, until there is none any more."""
        try:
            self._work(number)
        except Exception as error:
            self.broken = error
            self.stop()

    def _work(self, number: int) -> None:
        environment = share(number, self.jobs)
        while begun := self._begin(environment):
            unit, process = begun
            lines = [""]
            with process:
                for line in dvc_run.lines(process):
                    self.say(f"{unit.name} | {line}")
                    lines = [*lines[-1:], line]
            self._end(unit, process.returncode, dvc_run.reason(lines))

    def _begin(self, environment: dict[str, str]) -> tuple[Unit, subprocess.Popen[bytes]] | None:
        units = self.plan.units
        with self.changed:
            while not self.stopped:
                if free := [units[name] for name in self.waiting if units[name].needs <= self.done]:
                    unit = max(free, key=lambda one: (one.way, one.name))
                    self.waiting.discard(unit.name)
                    # stage by stage: DVC would lock even the outputs of a stage above that has nothing to do
                    process = dvc_run.start(
                        ["--single-item", *(stage.address for stage in unit.stages)],
                        env=environment,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                    )
                    self.running[unit.name], self.begun[unit.name] = process, time.monotonic()
                    self._show()
                    return unit, process
                if not self.running:  # what is left needs what failed
                    break
                self.changed.wait()
        return None

    def _end(self, unit: Unit, status: int, why: str) -> None:
        with self.changed:
            del self.running[unit.name]
            if status:
                self.failed[unit.name] = why
            else:
                self.done.add(unit.name)
                self.shown.update(len(unit.stages))
            self._show()
            self.changed.notify_all()

    def _show(self) -> None:
        so_far = {name: time.monotonic() - self.begun[name] for name in self.running}
        left = duration(self.plan.seconds(self.jobs, self.waiting, so_far))
        self.shown.set_postfix_str(f"about {left} left; " + ", ".join(self.running))

    def stop(self) -> None:
        """Begin nothing more, and end what runs."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        dvc_run.end(list(self.running.values()))

    def failure(self) -> str:
        """What failed, why, and what was not begun because of it."""
        said = list(self.failed.values())
        if behind := sum(len(self.plan.units[name].stages) for name in self.waiting):
            said.append(f"{behind} stages behind were not begun" if behind > 1 else "the stage behind was not begun")
        return "; ".join([*said, "the same command goes on from there"])


def share(number: int, jobs: int) -> dict[str, str]:
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
