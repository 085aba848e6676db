"""Several `dvc repro` side by side (`retune repro`), each with its share of the machine.

DVC runs one stage after the other, and most stages keep one core busy: they import, parse, write, hash. Here each chain
of stale stages (retune.pipeline.plan) starts as soon as what it reads is built, the longest way to the end first. At
the end one plain `dvc repro` looks whether all is built: what is stale is planned here, what is right DVC says.
"""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retune import params
from retune.errors import RetuneError, unknown
from retune.pipeline import disk_error, dvc_run, impact, instances, plan, recovery, remote, scheduler, seeds, set_params
from retune.pipeline.plan import Plan


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
    print("retune: reading what changed", flush=True)
    seeds.prepare(_stages_of_seeds)
    _alone(["resolve"], "the declarations could not be resolved")
    resolved = params.load()
    if odd := [task for task in tasks if task not in resolved.tasks]:
        raise RetuneError(unknown("task", odd[0], list(resolved.tasks)))
    if pull:
        remote.take([f"compare@{task}" for task in tasks], functools.partial(print, flush=True))
    found = _plan(tasks)
    print(f"retune: {found.words(jobs)}", flush=True)
    scheduler.run(found, jobs)
    # what is built already, by DVC's own judgement
    _alone([f"compare@{task}" for task in tasks], "the last stages failed")


def _stages_of_seeds() -> dict[str, Any]:
    from retune.pipeline.resolve import resolve

    return resolve(Path()).seeded


def _plan(tasks: list[str]) -> Plan:
    """What is to be built of these tasks, their exports and explorations included; none: of everything."""
    from retune.pipeline.resolve import resolve

    resolution = resolve(Path())
    values = {**resolution.resolved, **resolution.outside}
    every = instances.read(Path(), values)
    mine = {name for name, model in values["models"].items() if model["task"] in tasks}
    goals = [f"{stage}@{task}" for task in tasks for stage in ("compare", "explore")]
    goals += [f"export@{name}" for name, one in values.get("exports", {}).items() if one["model"] in mine]
    stale = {one.instance.address: bool(one.why) for one in impact.of(Path(), resolution)}
    return plan.of(Path(), every, goals, stale, values)


def _alone(arguments: list[str], problem: str) -> None:
    """One `dvc repro`, beside nothing else."""
    with dvc_run.start(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            for line in dvc_run.lines(process):
                print(line, flush=True)
            process.wait()
        except BaseException:
            dvc_run.end([process])
            raise
    if process.returncode:
        raise RetuneError(f"{problem}: see above")
