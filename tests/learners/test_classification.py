"""Kind `classification`: every learner tells several labels apart, and data or declarations that don't fit are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retune import learners
from retune.data import labels
from retune.data.convert import convert
from retune.errors import RetuneError
from retune.evaluation import dev_metrics
from retune.learners.classifier.fit import fit as fit_classifier
from retune.learners.tfidf_logistic.fit import fit as fit_logistic
from retune.learners.tfidf_logistic.predict import load as load_logistic
from retune.params import Params, loads
from tests.support import declarations, llm_fit, tiny_llm
from tests.support.encoder_fit import LOSS
from tests.support.tiny_encoder import tiny_encoder
from tests.support.training_options import CPU, OPTIONS

LABELS = ["还款", "额度", "退款", "其他"]
TEXTS = ["还a" * 4, "额b" * 4, "退c" * 4, "吗d" * 4]  # a label shows all over, so that even a random model can learn it


def rows(count: int, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    gold = random.integers(0, 4, count)
    gold[:4] = range(4)
    table = [(f"r{i}", TEXTS[k] + "wxyz"[random.integers(4)], LABELS[k]) for i, k in enumerate(gold)]
    return pl.DataFrame(table, schema=["id", "text", "label"], orient="row")


def spec_of(learner: str, **training: Any) -> Params:
    options = OPTIONS | {"learning_rate": 3e-3, "batch_size": 16, "epochs": 4, "eval_steps": 4} | training
    spec = {
        "task": "intent", "kind": "classification", "labels": LABELS, "learner": learner, "base": "b", "seed": 5,
        "base_name": "tiny",
        "training": options | {"select": "macro_f1", "packed_tokens": 4096, "max_length": 64},
        "loss": LOSS,
        "linear": {"analyzer": "char", "ngrams": [1, 2], "min_df": 1, "c": 10.0, "class_weights": "none"},
        "lora": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"},
        "quantization": {"bits": 16, "double": True},
        "hardware": CPU,
        "prompt": {"system": "标签：\n{labels}", "user": "{text}", "answers": {label: label for label in LABELS}},
    }  # fmt: skip
    if learner == "llm":
        spec["training"] |= {"learning_rate": 0.01, "max_length": 200, "batch_size": 8, "epochs": 3}
        spec["lora"]["method"] = "full"  # a random model has little that an adapter could turn to account
        spec["hardware"] = llm_fit.spec_of()["hardware"]
    return loads(json.dumps(spec))


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["linear", "encoder", "llm"])
def test_a_learner_tells_the_labels_apart_and_predicts_from_its_folder_what_it_measured(learner, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    out.mkdir()
    {"llm": tiny_llm.tiny_llm, "encoder": tiny_encoder}.get(learner, lambda _: None)(base)
    spec = spec_of(learner)
    (out / "spec.json").write_text(json.dumps(spec))
    dev = rows(30, seed=1)
    record = learners.fit(spec, rows(96), dev, base, out, tmp_path / "scratch")
    predicted = learners.load(spec, out, base, spec.hardware).predict(dev)
    assert predicted.columns == ["id", "label", "prob_0", "prob_1", "prob_2", "prob_3", "truncated"]
    assert predicted["id"].to_list() == dev["id"].to_list()
    assert np.allclose(predicted.select("^prob_.*$").to_numpy().sum(1), 1)
    right = (predicted["label"] == dev["label"]).mean()
    assert right > 0.9
    best = max(entry["eval_accuracy"] for entry in record.history if "eval_accuracy" in entry)
    assert right == pytest.approx(best)
    assert all("majority" not in name for entry in record.history for name in entry)


def test_a_label_without_a_training_row_gets_no_probability_and_breaks_nothing(tmp_path):
    train = rows(60).filter(pl.col("label") != "其他")
    (tmp_path / "spec.json").write_text(json.dumps(spec_of("linear")))
    fit_logistic(spec_of("linear"), train, rows(20), tmp_path, tmp_path, tmp_path)
    predicted = load_logistic(tmp_path, tmp_path, None).predict(rows(20))
    assert predicted["prob_3"].max() == 0.0
    assert np.allclose(predicted.select("^prob_.*$").to_numpy().sum(1), 1)


def test_one_answer_for_every_row_is_a_collapse_and_is_said():
    gold = np.array([0, 0, 1, 2])
    one = labels.log_softmax(np.tile([5.0, 0, 0], (4, 1)))
    assert "Collapsed to one class" in dev_metrics.problem(dev_metrics.of("classification", gold, one), "that")
    right = dev_metrics.of("classification", gold, labels.log_softmax(5 * np.eye(3)[gold]))
    assert dev_metrics.problem(right, "that") is None
    assert dev_metrics.problem(dev_metrics.of("classification", np.zeros(4, dtype=int), one), "that") is None


def test_a_linear_model_that_tells_nothing_apart_is_told_of_its_own_keys(tmp_path):
    blind = rows(60).with_columns(text=pl.lit("一样的话"))
    (said,) = fit_logistic(spec_of("linear"), blind, blind, tmp_path, tmp_path, tmp_path).warnings
    assert said.startswith("Collapsed to one class")
    assert said.endswith("try other values of linear.c (here 10), or more rows.")


def converted(folder: Path, lines: list[dict], max_rejects: float = 1.0) -> tuple[pl.DataFrame, list[dict]]:
    (folder / "raw").mkdir()
    (folder / "out").mkdir()
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "raw/rows.jsonl").write_text(text, encoding="utf-8")
    tables = [{"file": "rows.jsonl", "columns": {"text": {"from": "text"}, "label": {"from": "label"}}}]
    spec = {"kind": "classification", "labels": LABELS, "source": "s", "tables": tables, "max_rejects": max_rejects}
    convert(loads(json.dumps(spec)), folder / "raw", folder / "out", folder / "scratch", folder / "visible")
    rejects = (folder / "out/rejects.jsonl").read_text(encoding="utf-8").splitlines()
    return pl.read_parquet(folder / "out/rows.parquet"), [json.loads(line) for line in rejects]


def test_rows_with_unknown_or_several_labels_are_rejected_with_the_reason(tmp_path):
    lines = [
        {"text": "花呗还款", "label": "还款"},
        {"text": "开通", "label": "开通"},
        {"text": "又还又退", "label": ["还款", "退款"]},
    ]
    table, rejects = converted(tmp_path, lines)
    assert table["text"].to_list() == ["花呗还款"]
    assert [reject["line"] for reject in rejects] == [2, 3]
    assert "`label` is none of 还款, 额度, 退款, 其他" in rejects[0]["reason"]
    assert "`label` is a list, but a row has one label (several are not supported)" in rejects[1]["reason"]


def test_too_many_rejects_stop_the_stage(tmp_path):
    with pytest.raises(RetuneError, match="开通"):
        converted(tmp_path, [{"text": "a", "label": "还款"}, {"text": "b", "label": "开通"}], max_rejects=0.1)


P = "params.yaml"
CLASSES = (P, "kind: pair\n    source: sample\n    prompt: questions", "kind: classification\n    source: sample")


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([CLASSES], "tasks.questions: kind classification needs `labels`"),
        ([(P, "kind: pair", "kind: pair\n    labels: [a, b]")], "kind pair has no labels of its own; take it out"),
        ([(P, "kind: pair", "kind: classification\n    labels: [a, b, a]")], "`a` occurs twice; a label stands once"),
        ([(P, "kind: pair", "kind: classification\n    labels: [a, ' b']")], "white space at an end"),
        ([(P, "kind: pair", "kind: classification\n    labels: [a]")], "labels"),
        ([(P, "kind: pair", "kind: classification\n    labels: [a, b]")], "embedder can't be trained on kind classif"),
        (
            [(P, "kind: pair", "kind: classification\n    labels: [a, b]")],
            "answers: lacks `a`, `b` and has the unknown",
        ),
        ([(P, "training: {epochs: 2}", "training: {epochs: 2, select: macro_f1}")], "which kind pair has not"),
    ],
)
def test_declarations_of_labels_are_checked(edits, said, tmp_path):
    with pytest.raises(RetuneError) as caught:
        declarations.resolved(declarations.write(tmp_path, *edits))
    assert said in str(caught.value)


def test_the_checkpoint_is_picked_by_the_metric_of_the_kind(tmp_path):
    found = declarations.resolved(declarations.write(tmp_path))
    assert found["models"]["chatty"]["training"]["select"] == "auc"
    assert found["models"]["chatty"]["labels"] == ["0", "1"]


@pytest.mark.slow
def test_a_probed_head_begins_where_a_linear_model_ends(tmp_path, caplog):
    base = tmp_path / "base"
    tiny_encoder(base)
    found = {}
    for head in ("random", "probe"):
        out = tmp_path / head
        out.mkdir()
        spec = spec_of("encoder", head=head, learning_rate=1e-9, epochs=1, eval_steps=100)
        with caplog.at_level("INFO"):
            record = fit_classifier(spec, rows(96), rows(30, seed=1), base, out, tmp_path / f"scratch-{head}")
        found[head] = record.history[-1]["eval_accuracy"]
    assert found["probe"] > 0.9 > found["random"]
    assert "head probe: logistic regression on 96 frozen vectors" in caplog.text


@pytest.mark.slow
def test_a_probe_of_one_label_is_left_out_and_said_and_the_head_trains_as_a_random_one(tmp_path, caplog):
    base = tmp_path / "base"
    tiny_encoder(base)
    train = rows(40).filter(pl.col("label") == "其他")
    heads = []
    for head in ("probe", "random"):
        out = tmp_path / head
        out.mkdir()
        spec = spec_of("encoder", head=head, epochs=6, eval_steps=100)
        with caplog.at_level("INFO"):
            fit_classifier(spec, train, rows(20, seed=1), base, out, tmp_path / f"scratch-{head}")
        heads.append((out / "head.safetensors").read_bytes())
    assert caplog.text.count("head random: all training rows have one label") == 1
    assert heads[0] == heads[1]
