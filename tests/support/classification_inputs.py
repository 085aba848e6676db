"""What the report reads of a classification task of any number of labels: made-up predictions, really measured."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import polars as pl

from retune.training import dvclive_log
from retune.training.record import Training
from stages.calibrate import calibrate
from stages.compare import compare
from stages.evaluate import evaluate
from stages.explore import explore
from tests.support.stage_run import run

MODELS = {"intent_linear": ("linear", "scratch", 1.2), "intent_llm": ("llm", "llm", 2.6)}
"""Model -> learner, base, and how far the gold label's logit is above the others."""

HOSTILE = "<img src=x onerror=alert(1)>[SEP]&amp;"
NAMES = ["咨询（含查询）业务规定", "办理取消", "投诉（含抱怨）不知情定制问题", "办理重置/修改/补发", "</svg><b>投诉"]


def labels_of(count: int) -> list[str]:
    """`count` different labels; long and short ones, and one that tries to close the drawing."""
    return [NAMES[i] if i < len(NAMES) else f"{NAMES[i % 4]}之{i}" for i in range(count)]


def build(folder: Path, count: int, rows: int = 600) -> Path:
    """Write the inputs of stage `report` for `count` labels into `folder` and return it."""
    labels = labels_of(count)
    section = {"kind": "classification", "labels": labels}
    models = {
        name: {
            "task": "intent",
            "kind": "classification",
            "labels": labels,
            "learner": learner,
            "base": base,
            "seed": 1,
        }
        for name, (learner, base, _) in MODELS.items()
    }
    task = {
        **section,
        "source": {"name": "intent-sample", "kind": "sample", "license": "Apache-2.0"},
        "calibration": section | {"temperature": True},
        "evaluation": section | {"seed": 1, "bootstrap": 100, "confidence": 0.95, "errors": 8, "limit": None},
        "chains": {},
        "exploration": section | {"readers": []},
        "models": list(MODELS),
    }
    task["comparison"] = {"models": list(MODELS), "chains": {}, **task["evaluation"]}
    bases = {name: {"name": name, "kind": "none", "license": "none needed"} for name in ("scratch", "llm")}
    resolved = {"seed": 1, "bases": bases, "tasks": {"intent": task}, "models": models, "code": {"report": "0"}}
    _json(folder / "params-resolved.json", resolved)
    random = np.random.default_rng(5)
    shares = 1 / np.arange(2, count + 2)
    tables, counts = {}, {}
    for split in ("train", "dev", "calibration", "test"):
        gold = random.choice(count, size=rows, p=shares / shares.sum())
        gold[:count] = np.arange(count)
        ids = [f"{split}-{i}" for i in range(rows)]
        texts = [HOSTILE if i == 0 else f"嗯那个我想{labels[gold[i]][-4:]}[SEP]您好请讲{i}" for i in range(rows)]
        tables[split] = (ids, gold)
        frame = pl.DataFrame({"id": ids, "group": ids, "text": texts, "label": [labels[code] for code in gold]})
        frame = frame.with_columns(origin=pl.lit("original"))
        (folder / "data/splits/intent").mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / f"data/splits/intent/{split}.parquet")
        targets = {label: int((gold == code).sum()) for code, label in enumerate(labels)}
        counts[split] = {"rows": rows, "groups": rows, "augmented": 0, "targets": targets}
    shared = {"train, test": 0}
    summary = {
        "splits": counts, "official": [], "shares_wanted": dict.fromkeys(counts, 0.25),
        "shares_got": dict.fromkeys(counts, 0.25), "augmented_left_out": 0, "groups": "rows", "shared_dropped": 0,
        "sharing": {},
        "shared_groups": shared, "shared_pairs": shared, "shared_texts": shared,
    }  # fmt: skip
    _json(folder / "data/splits/intent/summary.json", summary)
    converted = {"license": "Apache-2.0", "records": 4 * rows, "rows": 4 * rows, "rejected": 0, "duplicates": 0}
    _json(folder / "data/converted/intent/summary.json", converted | {"conflicts": 0, "reasons": {}, "files": {}})
    for name, (_, _, strength) in MODELS.items():
        for split in ("calibration", "test"):
            _predictions(folder / f"data/predictions/intent/{name}/{split}.parquet", *tables[split], strength, random)
        record = folder / "reports/training" / name
        record.mkdir(parents=True)
        dvclive_log.write(Training([{"step": 1, "eval_macro_f1": 0.4}], {"seconds": 2.0, "device": "cpu"}, []), record)
    with contextlib.chdir(folder):
        for name in MODELS:
            for step in (calibrate, evaluate):
                run(step, name)
        run(compare, "intent")
        run(explore, "intent")
    return folder


def _predictions(path: Path, ids: list[str], gold: np.ndarray, strength: float, random: np.random.Generator) -> None:
    width = int(gold.max()) + 1
    logits = random.normal(size=(len(ids), width))
    logits[np.arange(len(ids)), gold] += strength
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    table = {f"prob_{code}": pl.Series(probabilities[:, code]) for code in range(width)}
    frame = pl.DataFrame({"id": ids, **table, "truncated": [False] * len(ids)})
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.with_columns(pl.when(pl.col("id") != "test-7").then(pl.col("^prob_.*$"))).write_parquet(path)


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
