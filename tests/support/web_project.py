"""A project with a small model of each kind whose names and labels hold HTML, and its page in this process."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import uvicorn

from retune import inference, learners
from retune.exports.decisions import decide
from retune.params import loads
from retune.web import loaded, server
from retune.web.files import Limits
from retune.web.loaded import Loaded
from tests.support import exported, inference_project, ranking_fit
from tests.support.inference_project import TEXTS

HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script> **b** ${7*7} {{7*7}}"
LABELS = ["<b>办理</b>", "查询 ${1+1}", *(f"其他{number}" for number in range(10))]
DIMENSIONS = ["成长<i>性</i>", "debt"]
ROWS = 40


@functools.cache
def project() -> Path:
    """The folder of the project: built once for a run, and never written to."""
    root = inference_project.project(Path(_place().name))
    texts = pl.DataFrame(
        {
            "text": [f"{TEXTS[i % 3]}{LABELS[i % 12][:3]}" for i in range(120)],
            "label": [LABELS[i % 12] for i in range(120)],
        }
    )
    _fit(root, "topics", exported.spec("linear", "classification", labels=LABELS, task="classification"), texts, {})
    numbers = exported.kinds()["linear scores"]
    spec = numbers[0] | {"dimensions": DIMENSIONS, "task": "risk"}
    _fit(root, "scores", spec, numbers[1].with_columns(dimension=pl.Series(DIMENSIONS * 32)), numbers[2])
    spec = ranking_fit.spec_of("linear") | {"task": "passages", "labels": ["0", "1"]}
    _fit(root, "ranks", spec, ranking_fit.judged(), {"scale": 0.5, "bias": 0.2})
    _predictions(root, "pair", "same", ["0", "1"], ["text_a", "text_b"])
    _predictions(root, "classification", "topics", LABELS, ["text"])
    file = root / "params-resolved.json"
    resolved = json.loads(file.read_text())
    resolved["tasks"] |= {"risk": {"convert": {"tables": []}}, "passages": {"convert": {"tables": []}}}
    file.write_text(json.dumps(resolved))
    return root


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="web-project-")  # goes with the process


def _fit(root: Path, name: str, spec: Any, rows: pl.DataFrame, fitted: dict[str, Any]) -> None:
    folder = root / "models" / name
    folder.mkdir(parents=True)
    spec = loads(json.dumps(spec | {"base": "scratch", "hardware": {}}))
    (folder / "spec.json").write_text(json.dumps(spec))
    learners.fit(spec, rows, rows, root / "models/bases/scratch", folder, root / "scratch")
    calibration = root / f"data/calibrations/{spec.task}/{name}.json"
    calibration.parent.mkdir(parents=True, exist_ok=True)
    calibration.write_text(json.dumps({"temperature": 1.0, "estimate": None, **fitted}))


def _predictions(root: Path, task: str, name: str, labels: list[str], texts: list[str]) -> None:
    """Made-up probabilities and truths of the calibration and test rows; the first test texts hold HTML."""
    random = np.random.default_rng(0)
    for split in ("calibration", "test"):
        ids = [f"{split}-{number}" for number in range(ROWS)]
        table = random.dirichlet(np.full(len(labels), 0.5), ROWS)
        columns: dict[str, Any] = {f"prob_{code}": table[:, code] for code in range(len(labels))}
        said = [labels[code] for code in table.argmax(axis=1)]
        folder = root / f"data/predictions/{task}/{name}"
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"id": ids, "label": said, **columns, "truncated": [False] * ROWS}).write_parquet(
            folder / f"{split}.parquet"
        )
        rows: dict[str, Any] = {column: [f"{HOSTILE} {column} {i}" for i in ids] for column in texts}
        truth = [said[i] if i % 3 else labels[i % len(labels)] for i in range(ROWS)]
        folder = root / f"data/splits/{task}"
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"id": ids[::-1], "label": truth[::-1], **rows}).write_parquet(folder / f"{split}.parquet")


@functools.cache
def model(name: str) -> Loaded:
    """A model of the project; `thinker` is `same`, and writes."""
    if name == "thinker":
        same = model("same")
        return Loaded(replace(same.model, name="thinker", predictor=Thinker(same.model.predictor)))
    return loaded.of(inference.load(project() / "models" / name))


class Thinker:
    """A predictor that gives another one's answers, and writes a reasoning with HTML."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The predictions of `inner` with reasoning and generated_label."""
        found: pl.DataFrame = self.inner.predict(rows)
        return found.with_columns(reasoning=pl.lit(f"First, {HOSTILE}"), generated_label=pl.lit("0"))


def decided(name: str, split: str) -> pl.DataFrame:
    """Truth and decision of a split's rows, computed another way than the page does."""
    one, root = model(name), project()
    spec = one.model.spec
    rows = pl.read_parquet(root / f"data/predictions/{spec.task}/{name}/{split}.parquet")
    truth = pl.read_parquet(root / f"data/splits/{spec.task}/{split}.parquet")
    labels = dict(zip(truth["id"], truth["label"], strict=True))
    found = decide(rows, one.model.fitted, one.labels)
    return found.with_columns(truth=pl.Series([labels[i] for i in rows["id"]]))


@contextlib.contextmanager
def page(*names: str, limits: Limits | None = None, **more: Any) -> Iterator[str]:
    """The address of a page with some models, served by a thread in the project's folder."""
    with (
        contextlib.chdir(project()),
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as bound,
    ):
        app = server.application([model(name) for name in names], Path(folder), limits or Limits(), **more)
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, args=([bound],), daemon=True)
        thread.start()
        try:
            while not running.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(30)
