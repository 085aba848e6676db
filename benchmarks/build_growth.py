"""What a build with nothing to do costs as the project grows, against the same graph in DVC alone.

    python -m benchmarks.build_growth --work /tmp/growth --tasks 5 11 22 --runs 5

A project of so many tasks with four linear models each is resolved; its outputs are made up and committed to DVC, so
that nothing is stale. Beside it lies a pipeline that DVC would hold if there were no Retune: the same stages with the
same files, written out, with `true` for a command. `dvc repro` of both runs in turn, each in a process of its own; told
are medians of the processor time (user and system, of the machine's load it depends little) and of the seconds on the
clock, and the ratio of the two pipelines in each round.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from retune.pipeline import instances
from retune.pipeline.instances import Instance

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("retune", "stages", "prompts", "data/catalog.yaml", "data/external/README.md", "data/outside.json",
    "data/generated.json", "models/catalog.yaml", "params.yaml", "dvc.yaml", "requirements.lock", ".dvcignore",
    ".gitignore")  # fmt: skip
MODELS = 4


def run(folder: Path, *command: str) -> tuple[str, float, float]:
    """What a command printed, its processor seconds and its seconds on the clock."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "true", "PYTHONPATH": str(folder)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


def project(folder: Path, tasks: int) -> list[Instance]:
    """A resolved project with made-up outputs; its stage instances."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    names = [f"task{number:03}" for number in range(tasks)]
    params["tasks"] = {name: {"kind": "pair", "source": "similarity-sample"} for name in names}
    linear = {"learner": "linear", "base": "scratch"}
    params["models"] = {f"{name}_{n}": {"task": name, **linear} for name in names for n in range(MODELS)}
    params["bases"] = {"scratch": "scratch"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "repro", "-q", "resolve")
    values = json.loads((folder / "params-resolved.json").read_text(encoding="utf-8")) | {"outside": {}}
    found = instances.read(folder, values)
    built(folder, [one for one in found if one.stage != "resolve"])
    return found


def plain(folder: Path, found: list[Instance]) -> None:
    """The same graph without Retune."""
    alone = [replace(one, cmd="true", deps=one.deps if one.stage != "resolve" else ()) for one in found]
    names = {one.address: one.address.replace("@", "-") for one in alone}
    stages = {
        names[one.address]: {"cmd": one.cmd, "outs": list(one.outs)} | ({"deps": list(one.deps)} if one.deps else {})
        for one in alone
    }
    folder.mkdir(parents=True)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    built(folder, alone, names)


def built(folder: Path, found: list[Instance], names: dict[str, str] | None = None) -> None:
    """Make up all outputs, put them into DVC's cache and write their entries of dvc.lock.

    `names`: what an instance is called there. (`dvc commit` writes the whole file once for each stage.)
    """
    made_up(folder, found)
    lock = folder / "dvc.lock"
    text = lock.read_text(encoding="utf-8") if lock.is_file() else "schema: '2.0'"
    content = yaml.safe_load(text)
    loose = (
        set()
        if names
        else {"params-resolved.json", "resolved", "data/outside.json", "data/generated.json", "reports/summary.md"}
    )  # `cache: false`
    for one in found:
        entry: dict[str, Any] = {"cmd": one.cmd}
        for kind, paths in (("deps", one.deps), ("outs", one.outs)):
            if paths:
                entry[kind] = [hashed(folder, path, path not in loose) for path in sorted(paths)]
        content.setdefault("stages", {})[names[one.address] if names else one.address] = entry
    lock.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def hashed(folder: Path, path: str, cached: bool) -> dict[str, Any]:
    """The entry of a file or a folder in dvc.lock; its bytes go into the cache."""

    def store(content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest() + suffix
        target = folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
        if cached and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return md5

    here = folder / path
    if here.is_file():
        return {"path": path, "hash": "md5", "md5": store(here.read_bytes()), "size": here.stat().st_size}
    files = sorted(file for file in here.rglob("*") if file.is_file())
    listed = [{"md5": store(file.read_bytes()), "relpath": file.relative_to(here).as_posix()} for file in files]
    md5 = store(json.dumps(listed, sort_keys=True).encode(), ".dir")
    size = sum(file.stat().st_size for file in files)
    return {"path": path, "hash": "md5", "md5": md5, "size": size, "nfiles": len(files)}


def made_up(folder: Path, found: list[Instance]) -> None:
    """A small file in each output, and those in them that other stages read."""
    outs = {out for one in found for out in one.outs}
    for path in (*outs, *(dep for one in found for dep in one.deps)):
        if not any(path == out or path.startswith(f"{out}/") for out in outs):
            continue
        file = folder / path if Path(path).suffix else folder / path / "rows.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(path))


def rounds(folders: list[Path], runs: int) -> Iterator[list[tuple[float, float]]]:
    """Processor and clock seconds of `dvc repro` in each folder, one after the other."""
    for number in range(runs + 1):
        measured = [run(folder, "dvc", "repro") for folder in folders]
        if number == 0:  # the first fills caches
            for folder, (said, _, _) in zip(folders, measured, strict=True):
                if "Running stage" in said:
                    sys.exit(f"{folder} is not up to date:\n{said}")
            continue
        yield [(cpu, clock) for _, cpu, clock in measured]


def main() -> None:
    """Print a row for each size and the growth between the smallest and the largest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", type=int, nargs="+", default=[5, 11, 22])
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    print("stages | Retune cpu s (clock) | DVC alone cpu s (clock) | ratio of cpu, lowest to highest | dvc.lock KiB")
    points = []
    for tasks in given.tasks:
        ours, theirs = given.work / f"retune-{tasks}", given.work / f"plain-{tasks}"
        if not (given.work / f"{tasks}.done").exists():
            plain(theirs, found := project(ours, tasks))
            (given.work / f"{tasks}.done").write_text(str(len(found)))
        count = int((given.work / f"{tasks}.done").read_text())
        measured = list(rounds([ours, theirs], given.runs))
        ratios = sorted(a[0] / b[0] for a, b in measured)
        middle = [[statistics.median(one[k][part] for one in measured) for part in (0, 1)] for k in (0, 1)]
        points.append((count, middle[0][0], middle[1][0]))
        cells = [f"{cpu:.2f} ({clock:.2f})" for cpu, clock in middle]
        sizes = "/".join(f"{(folder / 'dvc.lock').stat().st_size / 1024:.0f}" for folder in (ours, theirs))
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{count} | {' | '.join(cells)} | {ratio} | {sizes}", flush=True)
    if len(points) > 1:
        first, last = points[0], points[-1]
        each = [1000 * (last[k] - first[k]) / (last[0] - first[0]) for k in (1, 2)]
        print(f"each further stage: Retune {each[0]:.1f} ms, DVC alone {each[1]:.1f} ms of processor time")


if __name__ == "__main__":
    main()
