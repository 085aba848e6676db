"""The speed benchmark's own part runs: rows of every workload, Retune's driver, label scoring, both tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import test_learner_ranking, tiny, tiny_llm

ROOT = Path(__file__).parent.parent


def bench(base: Path, work: Path, *options: str) -> str:
    command = [sys.executable, "benchmarks/llm.py", "--base", str(base), "--work", str(work), "--dtype", "float32"]
    few = ["--rows", "8", "--dev-rows", "4", "--threads", "1", "--tools", "retune", "--methods", "labels,apart"]
    done = subprocess.run([*command, *few, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training_and_classification_are_measured(tmp_path: Path) -> None:
    base = tiny_llm.tiny_llm(tmp_path / "base")
    said = bench(base, tmp_path / "work", "--apart-rows", "8")
    assert "| retune |" in said
    results = [json.loads(line) for line in (tmp_path / "work/results.jsonl").read_text(encoding="utf-8").splitlines()]
    trained, labels, apart = results
    assert trained["steps"] == 2
    assert trained["first_loss"] > trained["dev_loss"] > 0
    assert labels["predictions"] == apart["predictions"], "the tree of labels and one pass per label agree"


def test_another_workload_trains(tmp_path: Path) -> None:
    base = tiny_llm.tiny_llm(tmp_path / "base")
    assert "| retune |" in bench(base, tmp_path / "work", "--workload", "reasoning", "--only", "train")


def test_encoding_is_compared_and_gives_the_same_vectors(tmp_path: Path) -> None:
    spec, base = test_learner_ranking.spec_of("embedder", epochs=0, max_length=100), tmp_path / "base"
    base.mkdir()
    out, _ = test_learner_ranking.fit(spec, tiny.tiny_encoder(base), tmp_path)
    few = ["--rows", "40", "--repeat", "1", "--dtype", "float32"]
    command = [sys.executable, "benchmarks/encode.py", "--model", str(out), *few]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| Retune |" in done.stdout
    assert float(done.stdout.split()[-1]) < 1e-5
