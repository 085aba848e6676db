"""The stages calibrate, evaluate and compare, run as DVC runs them, on the predictions of three made-up models."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.support import ROOT, warm_python

pytestmark = pytest.mark.slow

MODELS = ["weak", "strong", "silent"]
FOLDER = Path("reports/evaluations/similarity/strong")


def project(root):
    generator = np.random.default_rng(0)
    for split, n in (("calibration", 120), ("test", 200)):
        labels = (generator.random(n) < 0.3).astype(np.int8)
        ids = [f"{split}-{i}" for i in range(n)]
        more = {"group": [f"g{i // 2}" for i in range(n)], "text_a": ids, "text_b": ids, "label": labels}
        (root / "data/splits/similarity").mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"id": ids} | more).write_parquet(root / f"data/splits/similarity/{split}.parquet")
        for model in MODELS:
            odds = (labels - 0.5) * (1.0 if model == "weak" else 4.0) + generator.normal(size=n)
            prob_1 = 1 / (1 + np.exp(-3 * odds))
            spoken = [model != "silent" or i % 10 > 0 for i in range(n)]
            table = pl.DataFrame(
                {"id": ids, "label": (odds > 0).astype(np.int8), "prob_0": 1 - prob_1, "prob_1": prob_1}
            )
            table = table.with_columns(pl.when(pl.Series(spoken)).then(pl.exclude("id")), truncated=False)
            (root / f"data/predictions/similarity/{model}").mkdir(parents=True, exist_ok=True)
            table.reverse().write_parquet(root / f"data/predictions/similarity/{model}/{split}.parquet")
    (root / "data/splits/similarity/summary.json").write_text("{}")
    task = {
        "kind": "pair",
        "calibration": {
            "kind": "pair",
            "threshold": "f1",
            "cost_false_positive": 1.0,
            "cost_false_negative": 1.0,
            "temperature": True,
        },
        "evaluation": {"kind": "pair", "seed": 1, "bootstrap": 200, "confidence": 0.95, "errors": 6, "limit": None},
        "chains": {},
        "models": MODELS,
    }
    task["comparison"] = {"models": MODELS, "chains": {}, **task["evaluation"]}
    models = {name: {"task": "similarity", "kind": "pair", "learner": "linear", "base": "scratch"} for name in MODELS}
    resolved = {"seed": 1, "bases": {}, "tasks": {"similarity": task}, "models": models, "code": {}}
    (root / "params-resolved.json").write_text(json.dumps(resolved))


def run(root, stage, name, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    python = sys.executable if more else f"{warm_python.folder()}/python"  # threads are told at the start
    command = [python, "-m", f"stages.{stage}", name]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    project(root)
    for stage, names in (("calibrate", MODELS), ("evaluate", MODELS), ("compare", ["similarity"])):
        for name in names:
            process = run(root, stage, name)
            assert process.returncode == 0, process.stderr
    return root


def read(path):
    return json.loads(path.read_text())


def test_the_metrics_of_a_model_are_those_of_its_decisions(built):
    """Reckoned again from the files alone, with scikit-learn."""
    from sklearn.metrics import f1_score, roc_auc_score

    fitted = read(built / "data/calibrations/similarity/strong.json")
    rows = pl.read_parquet(built / "data/splits/similarity/test.parquet")
    rows = rows.join(pl.read_parquet(built / "data/predictions/similarity/strong/test.parquet").drop("label"), on="id")
    odds = (rows["prob_1"] / rows["prob_0"]).log() / fitted["temperature"]
    probabilities = 1 / (1 + (-odds).exp())
    metrics = read(built / "reports/metrics/strong.json")["test"]
    assert list(metrics)[:5] == ["rows", "groups", "unparsed", "truncated", "f1"]
    assert [metrics[name] for name in ("rows", "groups", "unparsed")] == [200, 100, 0]
    assert metrics["f1"]["value"] == pytest.approx(f1_score(rows["label"], probabilities >= fitted["threshold"]))
    assert metrics["auc"]["value"] == pytest.approx(roc_auc_score(rows["label"], probabilities))
    assert metrics["f1"]["low"] < metrics["f1"]["value"] < metrics["f1"]["high"]


def test_evaluate_writes_what_the_report_reads(built):
    assert sorted(file.name for file in (built / FOLDER / "details").iterdir()) == [
        "confusion.json", "errors.parquet", "reliability_uncalibrated.csv",
    ]  # fmt: skip
    assert sorted(file.name for file in (built / FOLDER / "plots").iterdir()) == [
        "precision_recall.csv", "reliability.csv", "roc.csv",
    ]  # fmt: skip
    assert (built / FOLDER / "plots/roc.csv").read_text().startswith("x,y,threshold\n0.0,0.0,\n")
    assert (built / FOLDER / "plots/precision_recall.csv").read_text().startswith("x,y,threshold\n0.0,1.0,\n")
    assert (built / FOLDER / "plots/reliability.csv").read_text().startswith("x,y,lower,upper,rows\n")
    confusion = read(built / FOLDER / "details/confusion.json")
    errors = pl.read_parquet(built / FOLDER / "details/errors.parquet")
    assert sum(confusion.values()) == 200
    assert len(errors) == min(6, confusion["false_positive"] + confusion["false_negative"])
    assert (errors["label"] != errors["decision"]).all()


def test_unparsed_answers_are_counted_and_cost_quality(built):
    calibration = read(built / "data/calibrations/similarity/silent.json")
    assert (calibration["rows"], calibration["unparsed"]) == (108, 12)
    silent, strong = (read(built / f"reports/metrics/{name}.json")["test"] for name in ("silent", "strong"))
    assert silent["unparsed"] == 20
    assert silent["accuracy"]["value"] < strong["accuracy"]["value"] - 0.05
    errors = pl.read_parquet(built / "reports/evaluations/similarity/silent/details/errors.parquet")
    assert not any(int(name.split("-")[1]) % 10 == 0 for name in errors["id"])


def test_a_quick_look_measures_the_rows_that_were_predicted(tmp_path):
    from retune.data.kinds import pair
    from retune.evaluation.predictions import limited

    project(tmp_path)
    resolved = read(tmp_path / "params-resolved.json")
    resolved["tasks"]["similarity"]["evaluation"]["limit"] = 50
    (tmp_path / "params-resolved.json").write_text(json.dumps(resolved))
    few = limited(pl.read_parquet(tmp_path / "data/splits/similarity/test.parquet"), 50, pair)
    file = tmp_path / "data/predictions/similarity/strong/test.parquet"
    pl.read_parquet(file).filter(pl.col("id").is_in(few["id"].implode())).write_parquet(file)
    for stage in ("calibrate", "evaluate"):
        process = run(tmp_path, stage, "strong")
        assert process.returncode == 0, process.stderr
    assert read(tmp_path / "reports/metrics/strong.json")["test"]["rows"] == 50


def test_compare_writes_every_pair_and_the_rows_in_dispute(built):
    result = read(built / "reports/comparisons/similarity/comparison.json")
    assert result["models"] == MODELS
    assert [(pair["a"], pair["b"]) for pair in result["pairs"]] == [
        ("weak", "strong"),
        ("weak", "silent"),
        ("strong", "silent"),
    ]
    metrics = {name: read(built / f"reports/metrics/{name}.json")["test"] for name in MODELS}
    for pair in result["pairs"]:
        wanted = metrics[pair["a"]]["auc"]["value"] - metrics[pair["b"]]["auc"]["value"]
        assert pair["metrics"]["auc"]["difference"] == pytest.approx(wanted)
    assert result["pairs"][0]["metrics"]["auc"]["high"] < 0
    disputed = pl.read_parquet(built / "reports/comparisons/similarity/disagreements.parquet")
    assert 0 < len(disputed) < 200
    agreed = {pair["a"] + pair["b"]: pair["agreement"] for pair in result["pairs"]}
    differ = disputed.filter(pl.col("weak.decision") != pl.col("strong.decision"))
    assert len(differ) == round(200 * (1 - agreed["weakstrong"]))


def test_another_run_with_other_threads_writes_the_same_bytes(built, tmp_path):
    project(tmp_path)
    shutil.copytree(built / "data/calibrations", tmp_path / "data/calibrations")
    (tmp_path / "data/calibrations/similarity/silent.json").unlink()
    for stage, name in (("calibrate", "silent"), ("evaluate", "silent"), ("compare", "similarity")):
        process = run(tmp_path, stage, name, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", POLARS_MAX_THREADS="1")
        assert process.returncode == 0, process.stderr
    written = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file() and ".retune" not in p.parts]
    assert len(written) > 18
    for path in written:
        assert (tmp_path / path).read_bytes() == (built / path).read_bytes(), path


def test_predictions_of_another_split_are_one_line_of_error(tmp_path):
    project(tmp_path)
    folder = tmp_path / "data/predictions/similarity/weak"
    (folder / "calibration.parquet").write_bytes((folder / "test.parquet").read_bytes())
    process = run(tmp_path, "calibrate", "weak")
    assert process.returncode == 1
    assert process.stderr.startswith(
        "calibrate weak: data/predictions/similarity/weak/calibration.parquet: no prediction for 120"
    )
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "data/calibrations/similarity/weak.json").exists()


def test_the_measuring_stages_start_without_heavy_libraries():
    code = "import sys, stages.calibrate, stages.evaluate, stages.compare; print(*sys.modules)"
    root = ROOT
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sklearn", "scipy", "pydantic", "pandas", "altair"} & set(loaded.split())
