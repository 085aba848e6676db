"""A project of two revisions for tests of `retune gate`: Git and DVC are real, the predictions are made up."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from retune.data.split import SPLITS

LABELS = ["咨询", "办理", "投诉"]
SIZE = 300
MEASURED = {"seed": 1, "bootstrap": 200, "confidence": 0.95, "limit": None}
KINDS: dict[str, dict[str, Any]] = {
    "pair": {"kind": "pair", "labels": ["0", "1"]},
    "classification": {"kind": "classification", "labels": LABELS},
    "ranking": {"kind": "ranking"},
    "scoring": {"kind": "scoring", "labels": [str(n) for n in range(1, 6)], "scores": [1, 5], "dimensions": ["a", "b"]},
}
FITTED = {
    "pair": {"temperature": 1.0, "threshold": 0.5},
    "classification": {"temperature": 1.0},
    "ranking": {"scale": 1.0, "bias": 0.0},
    "scoring": {"temperature": 1.0, "estimate": None},
}
COLUMNS = {
    "pair": ("text_a", "text_b"),
    "classification": ("text",),
    "ranking": ("query", "document"),
    "scoring": ("document", "dimension"),
}


class Project:
    """Tasks and models by name in `folder`; `write` lays them out, `commit` builds a revision of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tasks: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Any] = {}
        self.gate: dict[str, Any] = {}
        (folder / ".dvc/cache").mkdir(parents=True)
        (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
        (folder / ".gitignore").write_text("/data\n/.dvc/cache\n/.dvc/tmp\n")
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        person = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        done = subprocess.run(["git", *person, *words], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def task(self, name: str, kind: str, rows: pl.DataFrame | None = None) -> None:
        """A task with `rows` of test, or made-up ones."""
        shape = copy.deepcopy(KINDS[kind])
        self.tasks[name] = {**shape, "evaluation": {**shape, **MEASURED}, "source": {"name": name}, "models": []}
        test = made_up(kind) if rows is None else rows
        for split in SPLITS:
            self.files[f"data/splits/{name}/{split}.parquet"] = test if split == "test" else test.head(0)
        targets = {"1": 5, "0": 5} if kind == "pair" else dict.fromkeys(LABELS, 4)
        targets = {"a:3": 4, "b:2": 4} if kind == "scoring" else targets
        self.files[f"data/splits/{name}/summary.json"] = {"splits": {"train": {"targets": targets}}}

    def model(self, name: str, task: str, strength: float, seed: int = 0, **fitted: float) -> None:
        """A model of a task whose answers are so far apart by target (in standard deviations)."""
        kind = self.tasks[task]["kind"]
        if name not in self.tasks[task]["models"]:
            self.tasks[task]["models"].append(name)
        self.models.setdefault(name, {"task": task, "kind": kind, "learner": "linear", "name_of": name})
        rows = self.files[f"data/splits/{task}/test.parquet"]
        self.files[f"data/predictions/{task}/{name}/test.parquet"] = predicted(kind, rows, strength, seed)
        self.files[f"data/calibrations/{task}/{name}.json"] = {**FITTED[kind], **fitted}

    def forget(self, name: str) -> None:
        """Take a model out."""
        task = self.models.pop(name)["task"]
        self.tasks[task]["models"].remove(name)
        del (
            self.files[f"data/predictions/{task}/{name}/test.parquet"],
            self.files[f"data/calibrations/{task}/{name}.json"],
        )

    def write(self) -> None:
        """Lay out what a build would: outputs, their copies in DVC's cache, dvc.lock and params-resolved.json."""
        stages: dict[str, Any] = {}
        for path, content in self.files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pl.DataFrame):
                content.write_parquet(file)
            else:
                file.write_text(json.dumps(content))
            _, part, task, *rest = path.split("/")
            if part == "calibrations":
                name = rest[0].removesuffix(".json")
                stages[f"calibrate@{name}"] = {"outs": [self._cached(path)]}
            elif part == "predictions":
                stages[f"predict@{rest[0]}"] = {"outs": [self._cached(f"data/predictions/{task}/{rest[0]}")]}
            else:
                stages[f"split@{task}"] = {"outs": [self._cached(f"data/splits/{task}")]}
        for name, entry in stages.items():
            file = self.folder / f"resolved/{name.replace('@', '/')}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}\n")
            md5 = hashlib.md5(b"{}\n").hexdigest()
            entry["deps"] = [{"path": file.relative_to(self.folder).as_posix(), "md5": md5}]
        resolved = {"tasks": self.tasks, "models": self.models, "gate": self.gate}
        (self.folder / "params-resolved.json").write_text(json.dumps(resolved, ensure_ascii=False))
        (self.folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))

    def commit(self, message: str = "state") -> str:
        """Write and commit; the commit."""
        self.write()
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def _cached(self, path: str) -> dict[str, Any]:
        """Put an output into DVC's cache; its entry in dvc.lock."""
        here = self.folder / path
        if here.is_file():
            return {"path": path, "hash": "md5", "md5": self._store(here.read_bytes()), "size": here.stat().st_size}
        wanted = {file for file in self.files if file.startswith(f"{path}/")}
        files = sorted(file for file in here.rglob("*") if str(file.relative_to(self.folder)) in wanted)
        listed = [{"md5": self._store(file.read_bytes()), "relpath": str(file.relative_to(here))} for file in files]
        md5 = self._store(json.dumps(listed, sort_keys=True).encode(), ".dir")
        size = sum(file.stat().st_size for file in files)
        return {"path": path, "hash": "md5", "md5": md5, "size": size, "nfiles": len(files)}

    def _store(self, content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest() + suffix
        target = self.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        target.write_bytes(content)
        return md5


def made_up(kind: str, size: int = SIZE, seed: int = 3) -> pl.DataFrame:
    """Made-up test rows of a kind, two in each group (queries: five)."""
    random = np.random.default_rng(seed)
    number = np.arange(size)
    group = number // (5 if kind == "ranking" else 2)
    texts = {name: [f"{name} {n}" for n in number] for name in COLUMNS[kind]}
    if kind == "pair":
        target = {"label": pl.Series((random.random(size) < 0.4).astype(np.int8))}
    elif kind == "classification":
        target = {"label": [LABELS[code] for code in random.integers(0, 3, size)]}
    elif kind == "ranking":
        texts["query"] = [f"query {n}" for n in group]
        target = {"relevance": random.choice([0.0, 0.5, 1.0], size), "weight": np.ones(size)}
    else:
        texts = {"document": [f"document {n}" for n in group], "dimension": ["a", "b"] * (size // 2)}
        target = {"score": pl.Series(random.integers(1, 6, size).astype(np.int16))}
    return pl.DataFrame(
        {"id": [f"row-{n}" for n in number], "group": [f"group-{n:03}" for n in group], **texts, **target}
    )


def predicted(kind: str, rows: pl.DataFrame, strength: float, seed: int) -> pl.DataFrame:
    """Made-up predictions."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=len(rows))
    if kind == "pair":
        positive = 1 / (1 + np.exp(-strength * (2.0 * rows["label"].to_numpy() - 1) - noise))
        found = {"prob_0": 1 - positive, "prob_1": positive}
    elif kind == "classification":
        logits = random.normal(size=(len(rows), len(LABELS)))
        logits[np.arange(len(rows)), [LABELS.index(label) for label in rows["label"]]] += strength
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        found = {f"prob_{code}": chances[:, code] for code in range(len(LABELS))}
    elif kind == "ranking":
        found = {"score": strength * rows["relevance"].to_numpy() + noise}
    else:
        found = {"score": np.clip(3 + strength * (rows["score"].to_numpy() - 3.0) + 0.5 * noise, 1, 5)}
    return pl.DataFrame({"id": rows["id"], **found})
