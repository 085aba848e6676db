"""A made-up scoring task and the predictions of a baseline, of a model that thinks, and of one that is often silent."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from retune import run_record
from retune.data import kinds
from retune.data.split import SPLITS, summary
from retune.params import Params
from retune.training import dvclive_log
from retune.training.record import Training
from stages.calibrate import calibrate
from stages.compare import compare
from stages.evaluate import evaluate
from stages.explore import explore
from tests.support.stage_run import run

HOSTILE = "<script>alert(1)</script>"
DIMENSIONS = {"growth": "成长性", "debt": "偿债能力", "brand": "品牌"}
SCORES = np.arange(1, 11)
LABELS = [str(score) for score in SCORES]
MODELS = {"linear": "linear", "thinker": "llm", "silent": "llm"}
SIZES = {"train": 40, "dev": 12, "calibration": 30, "test": 40}
SAMPLED = 15  # test rows with samples


def rows_of(split: str, companies: int) -> pl.DataFrame:
    """A row for each company and dimension; the last company has one dimension only."""
    random = np.random.default_rng(sorted(SIZES).index(split))
    rows = []
    for number in range(companies):
        level = random.integers(1, 11)
        figure = 10 + int(level)
        document = (
            f"{split}公司{number} {HOSTILE}，营业收入{figure}.5亿元，同比增长{figure}%，客户集中度{90 - figure}%。"
        )
        for place, name in enumerate(DIMENSIONS):
            if number == companies - 1 and place:
                continue
            score = int(np.clip(level + random.integers(-2, 3), 1, 10))
            said = f"首先，营业收入{figure}.5亿元，增长{figure}%。但是客户集中度{90 - figure}%，风险较高。"
            row = {"id": f"{split}-{number}-{name}", "group": f"{split}{number // 2}", "document": document}
            row |= {"dimension": name, "score": score, "reasoning": said, "reason": f"综合判断，给出{score}分。"}
            rows.append(row | {"origin": "original"})
    return pl.DataFrame(rows, schema_overrides={"score": pl.Int16, "dimension": pl.Enum(list(DIMENSIONS))})


def distribution(center: np.ndarray, width: float) -> np.ndarray:
    """Probabilities of the scores [n, K] around a center."""
    logits = -((SCORES - center[:, None]) ** 2) / (2 * width**2)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    return chances / chances.sum(1, keepdims=True)


def predictions(model: str, split: str, rows: pl.DataFrame) -> pl.DataFrame:
    """What a learner writes for these rows."""
    random = np.random.default_rng([list(MODELS).index(model), len(split)])
    gold, count = rows["score"].to_numpy().astype(float), len(rows)
    table = rows.select("id", truncated=pl.lit(False))
    if model == "linear":
        return table.with_columns(score=pl.Series(np.clip(gold + random.normal(0, 2.0, count), 1, 10)))
    noise = random.normal(0, 0.6, count)
    after = distribution(gold + noise, 0.5)
    columns = {"score": pl.Series(after @ SCORES)} | {f"prob_{k}": pl.Series(after[:, k]) for k in range(10)}
    if model == "silent":
        spoken = pl.Series(np.arange(count) % 4 > 0)
        columns = {name: pl.select(pl.when(spoken).then(values)).to_series() for name, values in columns.items()}
        return table.with_columns(**columns)
    direct = distribution(gold + random.normal(0, 2.5, count), 0.5)
    said = np.clip(np.round(gold + noise), 1, 10).astype(int)
    written = [None if i % 10 == 0 else str(score) for i, score in enumerate(said)]
    columns |= {f"direct_prob_{k}": pl.Series(direct[:, k]) for k in range(10)}
    columns |= {
        "generated": pl.Series([f"<think>..</think>{score}" for score in written]),
        "generated_label": pl.Series(written, dtype=pl.String),
        "reasoning": pl.Series([None if i % 7 == 0 else "营业收入999亿元，所以很好。" for i in range(count)]),
        "reasoning_tokens": pl.Series([0 if i % 7 == 0 else 20 + i for i in range(count)], dtype=pl.Int64),
        "reason": pl.Series([f"因为{HOSTILE}，给出{score}分" for score in said]),
    }
    if split == "test":
        drawn = [[float(s), float(min(10, s + 1)), None] if i < SAMPLED else None for i, s in enumerate(said)]
        columns["samples"] = pl.Series(drawn, dtype=pl.List(pl.Float64))
    return table.with_columns(**columns)


def write(root: Path, judge: dict[str, Any] | None = None) -> None:
    """The inputs of the stages that measure."""
    splits = {name: rows_of(name, SIZES[name]) for name in SPLITS}
    kind = kinds.of("scoring")
    every = pl.concat([rows.with_columns(split=pl.lit(name)) for name, rows in splits.items()]).lazy()
    shares = Params(dev=0.1, calibration=0.25, test=0.33, balance="none")
    dump(root / "data/splits/risk/summary.json", summary(every, 0, shares, set(), kind))
    for name, rows in splits.items():
        rows.write_parquet(root / f"data/splits/risk/{name}.parquet")
    for model in MODELS:
        for split in ("calibration", "test"):
            path = root / f"data/predictions/risk/{model}/{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            predictions(model, split, splits[split]).reverse().write_parquet(path)
    said = {"kind": "scoring", "labels": LABELS, "scores": [1, 10], "dimensions": DIMENSIONS}
    measured = {
        "seed": 1,
        "bootstrap": 100,
        "confidence": 0.95,
        "errors": 6,
        "limit": None,
        "bins": None,
        "terms": None,
        "judge": judge,
    }
    task = {
        **said,
        "source": {"name": "made-up", "kind": "sample", "generator": "risk", "license": "none needed"},
        "calibration": {**said, "temperature": True},
        "evaluation": {**said, **measured},
        "exploration": {**said, "readers": []},
        "split": {"dev": 0.1, "calibration": 0.25, "test": 0.33},
        "chains": {},
        "models": list(MODELS),
    }
    task["comparison"] = {"models": list(MODELS), "chains": {}, **task["evaluation"]}
    models = {
        name: {"task": "risk", "learner": learner, "base": "scratch", "base_name": "scratch", **said}
        for name, learner in MODELS.items()
    }
    models["thinker"]["training"] = {"select": "mae", "epochs": 1, "checkpoint": "best"}
    bases = {"scratch": {"name": "scratch", "kind": "none", "license": "not applicable"}}
    resolved = {"seed": 1, "bases": bases, "tasks": {"risk": task}, "models": models, "code": {}}
    dump(root / "params-resolved.json", resolved)
    empty = {"records": 9, "rows": 9, "rejected": 0, "duplicates": 0, "conflicts": 0, "reasons": {}}
    dump(root / "data/converted/risk/summary.json", empty)
    speed = {"seconds": 99.0, "generated_tokens": 4200, "generation_seconds": 83.0, "tokens_per_second": 50.6}
    run_record.write("predict", "thinker", root / "data/predictions/risk/thinker/test.parquet", speed, root)


def build(root: Path, judge: dict[str, Any] | None = None) -> Path:
    """The inputs, and what the stages make of them."""
    write(root, judge)
    with contextlib.chdir(root):
        run(explore, "risk")
        for name in MODELS:
            Path("reports/training", name).mkdir(parents=True)
            dvclive_log.write(record_of(name), Path("reports/training", name))
            for stage in (calibrate, evaluate):
                run(stage, name)
        run(compare, "risk")
    return root


def record_of(model: str) -> Training:
    """The record of a training; the thinker had a curriculum, whose second stage is no better than the first."""
    if model != "thinker":
        return Training([{"step": 1, "eval_mae": 1.5, "eval_spearman": 0.5}])
    stages = [("basics", ["growth"], 0.5, 10, 0.9), ("everything", list(DIMENSIONS), 1.0, 20, 1.1)]
    history = [{"step": step, "loss": 1.0, "eval_loss": 2.0, "eval_mae": mae} for *_, step, mae in stages]
    entries = [
        {"name": name, "dimensions": of, "data_ratio": ratio, "epochs": 1.5, "rows": 60, "step": step}
        | {"metrics": {"loss": 2.0, "mae": mae}}
        for name, of, ratio, step, mae in stages
    ]
    return Training(history, stages=entries)


def dump(path: Path, content: object) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
