"""A small but real set of everything that the report reads: four models of one task, measured by the real stages."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import polars as pl

from retune import params, run_record
from retune.evaluation import binary_metrics
from retune.report import inputs, words
from retune.training import dvclive_log
from retune.training.record import Training
from stages.calibrate import calibrate
from stages.compare import compare
from stages.evaluate import evaluate
from stages.explore import explore
from tests.support.stage_run import run

HOSTILE = "<script>alert(1)</script>]]>&\"'|`**x**` \n@everyone ![x](http://example.org/x.png)"
QUESTIONS = [
    "花呗怎么提前还款", "花呗可以提前还吗", "借呗额度为什么降低了", "借呗的额度怎么突然变少",
    "余额宝的收益什么时候到账", "余额宝昨天的收益没有到", "退款多久能到银行卡", "买东西退货了钱退到哪里",
    "花呗逾期一天会影响征信吗", "蚂蚁借呗利息怎么算", "怎么关闭花呗自动还款", "如何开通花呗收款", HOSTILE,
]  # fmt: skip

MODELS = {
    "similarity_linear": ("linear", "scratch", 0.55),
    "similarity_untuned": ("embedder", "encoder", 0.7),
    "similarity_embedder": ("embedder", "encoder", 1.7),
    "similarity_llm": ("llm", "llm", 1.3),
}
"""Model -> learner, base, and how far its scores are apart by class (in standard deviations)."""

METRICS = {name: words.METRICS[name] for name in binary_metrics.METRICS}
"""What a pair is measured by."""
EXPLORATION = "explore/similarity/index.html"


def read(folder: Path) -> list[inputs.Task]:
    """The tasks as stage `report` reads them from `folder`."""
    return inputs.read(params.load(folder / "params-resolved.json"), folder)


def build(folder: Path, models: tuple[str, ...] = tuple(MODELS)) -> Path:
    """Write the inputs of stage `report` into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    _json(folder / "params-resolved.json", resolved(models))
    rows = _splits(folder)
    for index, name in enumerate(models):
        _predictions(folder, name, rows, np.random.default_rng(index))
    with contextlib.chdir(folder):
        for name in models:
            _training(Path("reports/training") / name, name)
            for step in (calibrate, evaluate):
                run(step, name)
        run(compare, "similarity")
        run(explore, "similarity")
    return folder


def resolved(models: tuple[str, ...]) -> dict:
    """`params-resolved.json`."""
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-5, "select": "auc", "patience": 3, "max_rows": None}
    specs = {}
    for name in models:
        learner, base, _ = MODELS[name]
        spec = {
            "task": "similarity",
            "kind": "pair",
            "learner": learner,
            "base": base,
            "base_name": base,
            "seed": 42,
            "augmented": True,
        }
        if learner == "linear":
            spec["linear"] = {"analyzer": "char", "ngrams": [1, 3], "min_df": 2, "c": 1.0, "class_weights": "none"}
        else:
            spec["training"] = training | ({"epochs": 0} if "untuned" in name else {})
            spec["hardware"] = {"device": "auto", "dtype": "auto", "attention": "auto", "threads": 0}
        if learner == "llm":
            spec["lora"] = {"method": "lora", "r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}
            spec["prompt"] = {
                "system": "判断两个问题的意思是否相同。",
                "user": "{text_a}\n{text_b}",
                "answers": {"0": "否", "1": "是"},
            }
        specs[name] = spec
    measured = {"kind": "pair", "seed": 42, "bootstrap": 200, "confidence": 0.95, "limit": None}
    return {
        "seed": 42,
        "bases": {
            "scratch": {"name": "scratch", "kind": "none", "license": "none needed"},
            "encoder": {"name": "e5-small", "kind": "wheel", "license": "MIT", "note": "multilingual-e5-small"},
            "llm": {
                "name": "gemma-270m", "kind": "wheel", "license": "Gemma Terms of Use",
                "note": "Gemma is provided under and subject to the Gemma Terms of Use (ai.google.dev/gemma/terms)",
            },
        },
        "tasks": {
            "similarity": {
                "kind": "pair",
                "source": {
                    "name": "similarity-sample", "kind": "sample", "license": "Apache-2.0", "generator": "similarity",
                    "seed": 0,
                },
                "convert": {"kind": "pair", "source": "similarity-sample", "tables": [], "max_rejects": 0.01},
                "split": {"kind": "pair", "dev": 0.1, "calibration": 0.15, "test": 0.25, "seed": 0},
                "calibration": {
                    "kind": "pair", "threshold": "f1", "cost_false_positive": 1.0, "cost_false_negative": 1.0,
                    "temperature": True,
                },
                "evaluation": {**measured, "errors": 12},
                "comparison": {"models": list(models), "chains": {}, **measured},
                "chains": {},
                "models": list(models),
                "exploration": {"kind": "pair", "labels": ["0", "1"], "readers": []},
            }
        },
        "models": specs,
        "code": {"report": "0"},
    }  # fmt: skip


def _splits(folder: Path) -> dict[str, pl.DataFrame]:
    random = np.random.default_rng(7)
    rows, counts = {}, {}
    for split, size in {"train": 400, "dev": 80, "calibration": 160, "test": 320}.items():
        label = (random.random(size) < 0.31).astype(np.int8)
        rows[split] = pl.DataFrame(
            {
                "id": [f"{split}-{i}" for i in range(size)],
                "group": [f"{split}-{i // 4}" for i in range(size)],
                "text_a": [QUESTIONS[i % len(QUESTIONS)] for i in range(size)],
                "text_b": [QUESTIONS[(3 * i + 1) % len(QUESTIONS)] for i in range(size)],
                "label": pl.Series(label, dtype=pl.Int8),
                "reasoning": pl.Series([None] * size, dtype=pl.String),
                "origin": ["original"] * size,
            }
        )
        path = folder / f"data/splits/similarity/{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows[split].write_parquet(path)
        counts[split] = {"rows": size, "groups": size // 4, "augmented": 0}
        counts[split]["targets"] = {"0": size - int(label.sum()), "1": int(label.sum())}
    got = {split: counts[split]["rows"] / 960 for split in counts}
    pairs = {"train, test": 2, "dev, test": 0}
    summary = {
        "splits": counts, "official": [],
        "shares_wanted": {"train": 0.5, "dev": 0.1, "calibration": 0.15, "test": 0.25},
        "shares_got": got, "augmented_left_out": 0, "groups": "rows", "shared_dropped": 0,
        "sharing": {}, "shared_groups": dict.fromkeys(pairs, 0), "shared_pairs": pairs,
        "shared_texts": {"train, test": 13, "dev, test": 11},
    }  # fmt: skip
    _json(folder / "data/splits/similarity/summary.json", summary)
    _json(
        folder / "data/converted/similarity/summary.json",
        {
            "source": "similarity-sample", "license": "Apache-2.0", "records": 965, "rows": 960, "rejected": 3,
            "duplicates": 2,
            "conflicts": 1, "files": {"pairs.jsonl": {"records": 965, "rows": 960, "rejected": 3}},
            "reasons": {"text_a is empty": 2, "label `maybe` is not in the map": 1}, "targets": {"0": 663, "1": 297},
            "splits": {}, "shared_texts": {},
        },
    )  # fmt: skip
    return rows


def _predictions(folder: Path, name: str, rows: dict[str, pl.DataFrame], random: np.random.Generator) -> None:
    for split in ("calibration", "test"):
        label = rows[split]["label"].to_numpy().astype(float)
        score = MODELS[name][2] * label + random.normal(size=len(label)) - 1
        positive = 1 / (1 + np.exp(-2.5 * score))
        frame = rows[split].select("id").with_columns(
            label=pl.Series((positive > 0.5).astype(np.int8)), prob_0=pl.Series(1 - positive),
            prob_1=pl.Series(positive), truncated=False,
        )  # fmt: skip
        path = folder / f"data/predictions/similarity/{name}/{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)


def _training(record: Path, name: str) -> None:
    learner = MODELS[name][0]
    record.mkdir(parents=True)
    history, messages, warnings = [{"step": 1, "eval_auc": 0.61}] if learner == "linear" else [], [], []
    if learner != "linear" and "untuned" not in name:
        random = np.random.default_rng(3)
        for step in range(10, 210, 10):
            history.append(
                {"step": step, "loss": 0.68 * 0.9 ** (step / 40) + random.normal(scale=0.015), "learning_rate": 3e-5}
            )
            if step % 20 == 0:
                gain = 1 - 0.9 ** (step / 15)
                dev = {
                    "eval_loss": 0.66 - 0.1 * gain,
                    "eval_auc": 0.62 + 0.2 * gain - (step > 150) * 0.08,
                    "eval_f1": 0.4 + 0.3 * gain,
                }
                history.append({"step": step, **dev, "eval_accuracy": 0.69 + 0.08 * gain})
        messages = [
            "Kept step 140 of 400, dev auc 0.7449.",
            "Stopped early at step 200 of 400: 3 evaluations without gain.",
        ]
    if learner == "llm":
        warnings.append("Collapsed to one class: every dev row gets label 0; try more rows or epochs.")
    resources = {
        "seconds": 3.4 if learner == "linear" else 184.2, "tokens_per_second": None if learner == "linear" else 2310.5,
        "peak_memory_gib": 1.31, "rows": 400, "tokens": None if learner == "linear" else 425_000, "device": "cpu",
        "dtype": "float32",
        "attention": None if learner == "linear" else "sdpa", "threads": 2,
        "parameters_total": 117_653_760, "parameters_trained": 21_300_480,
    }  # fmt: skip
    training = Training(history, resources, messages, warnings)
    dvclive_log.write(training, record)
    run_record.write("train", name, record / "metrics.json", training.took)


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
