"""Kill builds at random moments, and see that the next one goes on and ends with the same bytes.

    python -m benchmarks.kills --work /tmp/kills --kills 100
    python -m benchmarks.kills --work /tmp/kills --kills 100 --models intent_linear similarity_linear
    python -m benchmarks.kills --work /tmp/kills --kills 40 --models similarity_embedder similarity_llm --epochs 40

A small project (tests/support/project.py, tiny random checkpoints) is built once in peace. A copy is built again and
again by `dvc repro` and `retune repro` in turn; a stage, dvc, retune or the group gets KILL, TERM, INT or HUP, at a
random moment or while `dvc.lock` is written. Counted: builds that fail by themselves, processes that live 5 s later,
trainings that went on and whether from their last checkpoint, outputs that differ at the end. Ends with 1 if a count
that must be 0 is not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import yaml

from tests.support.project import SMALL, Project, clone

MARK = f"RETUNE_KILLS={uuid.uuid4().hex}"
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
DVC, RETUNE = ["dvc", "repro"], ["retune", "repro", "--jobs", "2"]
SECONDS = 5.0
"""How long what was killed may live on."""


def prepare(folder: Path, models: list[str], epochs: int | None) -> Project:
    """The project of the tests with these models, and trainings that last so many epochs."""
    bases = {}
    if not all(name.endswith("_linear") for name in models):
        from tests.support.tiny_encoder import tiny_encoder
        from tests.support.tiny_llm import tiny_llm

        bases = {"encoder": folder.parent / "encoder", "llm": folder.parent / "llm"}
        tiny_encoder(bases["encoder"])
        tiny_llm(bases["llm"])
    folder.mkdir(parents=True)
    project = clone(folder, bases)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["models"] = {name: params["models"][name] for name in models}
    params["tasks"] = {name: params["tasks"][name] for name in {m["task"] for m in params["models"].values()}}
    for model in params["models"].values():
        if epochs and model.get("training", {}).get("epochs"):
            model["training"] |= {"epochs": epochs, "patience": 0}  # dev says nothing of so small a model
    used = {model["base"] for model in params["models"].values()}
    params["bases"] = {role: base for role, base in params["bases"].items() if role in used}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    project.commit("models")
    return project


def outputs(folder: Path) -> dict[str, str]:
    """Every file of an output of the build, by its hash."""
    locked = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    found = {}
    for path in sorted({folder / out["path"] for stage in locked.values() for out in stage.get("outs", [])}):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def living() -> dict[int, str]:
    """Processes of this run that are no zombies: number, and command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if MARK.encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if command and "\nState:\tZ" not in (folder / "status").read_text():
                    found[int(folder.name)] = command
    return found


def wait_for_write(folder: Path, build: subprocess.Popen[bytes], seconds: float) -> bool:
    """Until `dvc.lock` is shorter than it was: DVC has begun to write it."""
    size, end = 0, time.monotonic() + seconds
    while time.monotonic() < end and build.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            now = (folder / "dvc.lock").stat().st_size
            if now < size:
                return True
            size = now
        time.sleep(0.002)
    return False


def kill(build: subprocess.Popen[bytes], target: str, number: signal.Signals) -> str:
    """Send it; whom it reached."""
    processes = living()
    if target == "group":
        os.killpg(build.pid, number)
        return "group"
    part = {"stage": "-m stages.", "dvc": "bin/dvc ", "retune": "bin/retune "}[target]
    if not (found := [pid for pid, command in processes.items() if part in command]):
        os.kill(build.pid, number)
        return "top"
    for pid in found[:1] if target == "stage" else found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return target


def steps(folder: Path) -> dict[str, int]:
    """The last complete checkpoint of each training that is not done."""
    found: dict[str, int] = {}
    for path in folder.glob(".retune/scratch/train/*/**/checkpoint-*"):
        if path.suffix != ".part":
            name = path.relative_to(folder / ".retune/scratch/train").parts[0].rpartition("-")[0]
            found[name] = max(found.get(name, 0), int(path.name.rpartition("-")[2]))
    return found


class Trial:
    """One copy of the project, built, killed and built again; `seen` counts what came of it."""

    def __init__(self, pristine: Path, folder: Path, wanted: dict[str, str], horizon: float, seed: int) -> None:
        self.pristine, self.folder, self.wanted, self.horizon = pristine, folder, wanted, horizon
        self.random, self.seen, self.notes = random.Random(seed), Counter[str](), list[str]()
        self.expected: dict[str, int] = {}

    def begin(self) -> None:
        """A project in which nothing is built."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.pristine, self.folder, symlinks=True)
        self.expected = {}

    def round(self, last: bool = False) -> None:
        """One build, killed unless it is the last or ends before."""
        command = self.random.choice([DVC, RETUNE]) if not self.refused else RETUNE
        log = self.folder.parent / "build.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}", "OMP_NUM_THREADS": "1",
            "RETUNE_CACHE": str(self.folder.parent / "cache"), MARK.partition("=")[0]: MARK.partition("=")[2],
        }  # fmt: skip
        with log.open("wb") as stream:
            build = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
            )
        if last:
            build.wait()
        elif self.random.random() < 0.3 and wait_for_write(self.folder, build, self.horizon):
            self.strike(build, "dvc", self.random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]), "write")
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                build.wait(self.random.uniform(0.3, self.horizon))
            if build.poll() is None:
                target = self.random.choice(["stage", "dvc", "group", command[0]])
                self.strike(build, target, self.random.choice(SIGNALS), "random")
        text = log.read_text(encoding="utf-8", errors="replace")
        self.seen["lines of recovery"] += len(re.findall(r"retune: (?:dvc.lock|cleared|\.dvc/tmp)", text))
        self.look_at_trainings()
        if build.returncode == 0:
            self.compare()
            if not last:
                self.begin()
        elif not self.struck and command is DVC and re.search(r"RWLock-file|required key not provided", text):
            self.seen["plain dvc refused a file cut before any stage had begun; `retune repro` is next"] += 1
            self.refused = True
            return
        elif not self.struck:
            self.seen["BUILDS THAT FAILED BY THEMSELVES"] += 1
            self.notes.append(f"{' '.join(command)} after {self.before}: " + " / ".join(text.splitlines()[-12:]))
        self.refused = False
        self.before, self.struck = (self.said, False) if self.struck else (self.before, False)

    struck, refused, said, before = False, False, "", "nothing"

    def strike(self, build: subprocess.Popen[bytes], target: str, number: signal.Signals, moment: str) -> None:
        """Kill, and see who lives on."""
        reached = kill(build, target, number)
        self.struck, self.said = True, f"{number.name} to {reached} ({moment})"
        self.seen["kills"] += 1
        self.seen[f"kills: {moment}"] += 1
        self.seen[f"kills: {reached}"] += 1
        end = time.monotonic() + SECONDS
        while (left := living()) and time.monotonic() < end:
            build.poll()
            time.sleep(0.05)
        if left and build.poll() is None:
            self.seen[f"still building, as DVC ignores it or others go on: {self.said}"] += 1
            os.killpg(build.pid, signal.SIGKILL)
            self.said += ", then KILL to the group"
            self.seen["kills"] += 1
            build.wait()
            end = time.monotonic() + SECONDS
            while (left := living()) and time.monotonic() < end:
                time.sleep(0.05)
        build.poll()
        if left:
            self.seen["ORPHANS"] += len(left)
            self.notes.append(f"after {self.said}: {left}")
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.look_at_trainings()
        self.expected |= steps(self.folder)
        for name in self.expected:  # what stands there later is of a later run
            (self.folder / f".retune/logs/train-{name}.log").unlink(missing_ok=True)

    def look_at_trainings(self) -> None:
        """Whether those that were killed went on from their last checkpoint."""
        for name, step in list(self.expected.items()):
            log = self.folder / f".retune/logs/train-{name}.log"
            text = log.read_text(encoding="utf-8") if log.exists() else ""
            found = re.search(r"resume after step (\d+)", text)
            if found or re.search(r"step \d+ of", text):
                self.seen["trainings resumed"] += bool(found)
                if not found or int(found[1]) != step:
                    self.seen["TRAININGS THAT LOST MORE THAN THEIR LAST STEPS"] += 1
                    self.notes.append(f"{name} began at step {found[1] if found else 0}, {step} was there")
                del self.expected[name]

    def compare(self) -> None:
        """Hold a finished build against the one that nobody disturbed."""
        self.seen["builds completed"] += 1
        found = outputs(self.folder)
        odd = sorted(name for name in found.keys() | self.wanted if found.get(name) != self.wanted.get(name))
        self.seen["OUTPUTS THAT DIFFER"] += len(odd)
        self.notes += [f"differs: {name}" for name in odd[:5]]
        self.seen["outputs compared"] += len(found)


def main() -> None:
    """Build in peace, then under fire; print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the projects; it is emptied")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--seconds", type=float, default=3600, help="end after this time, however many kills there were"
    )
    parser.add_argument("--horizon", type=float, default=20, help="seconds of a build within which it is killed")
    parser.add_argument("--models", nargs="*", default=list(SMALL), choices=list(SMALL))
    parser.add_argument(
        "--epochs", type=int, help="of each training: many, so that most kills meet one with checkpoints"
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    shutil.rmtree(chosen.work, ignore_errors=True)
    start = time.monotonic()
    pristine = prepare(chosen.work / "pristine", chosen.models, chosen.epochs)
    reference = pristine.copy(chosen.work / "reference")
    reference.run(*RETUNE)
    wanted = outputs(reference.folder)
    print(f"{len(wanted)} outputs in {time.monotonic() - start:.0f} s without a kill", flush=True)
    trial = Trial(pristine.folder, chosen.work / "trial", wanted, chosen.horizon, chosen.seed)
    trial.begin()
    while trial.seen["kills"] < chosen.kills and time.monotonic() - start < chosen.seconds:
        trial.round()
        print(f"{trial.seen['kills']} kills, last: {trial.before}", flush=True)
    trial.round(last=True)
    print(json.dumps(dict(sorted(trial.seen.items())), indent=2))
    print("\n".join(trial.notes))
    sys.exit(any(count for name, count in trial.seen.items() if name.isupper()))


if __name__ == "__main__":
    main()
