"""How close `retune repro` comes to the best order: 40 stages that sleep, in a random graph, four at a time.

    python -m benchmarks.scheduling [--stages 40] [--jobs 4] [--seed 0]

No order of any scheduler is shorter than the longest way through the graph, nor than all work divided by the jobs. What
is added to that is told: by the order, and by DVC, which starts once for each chain of stages.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from retune.pipeline import instances, plan, scheduler


def main() -> None:
    """Make the project, build it, print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--stages", 40), ("--jobs", 4), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        seconds = project(Path(), asked.stages, random.Random(asked.seed))
        every = instances.read(Path(), {})
        found = plan.of(Path(), every, [], dict.fromkeys(seconds, True), {})
        start = time.monotonic()
        scheduler.run(found, asked.jobs)
        took = time.monotonic() - start
        built = sum(Path(one).is_file() for one in seconds)
    way: dict[str, float] = {}
    for one in reversed(every):
        behind = [way[other.stage] for other in every if one.stage in other.deps]
        way[one.stage] = seconds[one.stage] + max(behind, default=0.0)
    longest, area = max(way.values()), sum(seconds.values()) / asked.jobs
    print(
        f"{built} of {asked.stages} stages in {len(found.units)} units, {asked.jobs} at a time: {took:.1f} s; longest "
        f"way {longest:.1f} s, area {area:.1f} s; {took / max(longest, area):.2f} times the bound"
    )


def project(folder: Path, count: int, draw: random.Random) -> dict[str, float]:
    """Write dvc.yaml and logs of earlier runs; the seconds of each stage, which needs up to three of six before it."""
    seconds, stages = {}, {}
    for number in range(count):
        name = f"s{number:02}"
        seconds[name] = round(draw.uniform(2, 14), 1)
        earlier = [f"s{other:02}" for other in range(max(0, number - 6), number)]
        needs = draw.sample(earlier, min(len(earlier), draw.randint(0, 3)))
        stages[name] = {"cmd": f"sleep {seconds[name]}; touch {name}", "deps": sorted(needs), "outs": [name]}
        log = folder / f".retune/logs/{name}-.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"INFO done in {seconds[name]} s\n", encoding="utf-8")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    for command in ("git init -q", "dvc init -q"):
        subprocess.run(command.split(), check=True)
    return seconds


if __name__ == "__main__":
    main()
