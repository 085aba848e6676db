"""The share of the machine that one of several jobs has: cores, or GPUs."""

from __future__ import annotations

import os
import subprocess


def of_job(number: int, jobs: int) -> dict[str, str]:
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
