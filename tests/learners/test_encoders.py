"""Learners `encoder` and `embedder` on a tiny BERT: they learn, come back from their folder, resume, cut and count."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import BertConfig, BertModel

from retune.encoders import tokens
from retune.errors import RetuneError
from retune.learners.classifier.model import Classifier
from retune.learners.pair_embedder.model import PairTexts
from retune.learners.pair_embedder.start import logistic
from retune.params import loads
from tests.support import ROOT, warm_python
from tests.support.encoder_fit import fit, load, spec_of, weights
from tests.support.tiny_encoder import pairs, tiny_encoder

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("learner", ["embedder", "encoder"])


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


@BOTH
def test_it_learns_and_predicts_from_its_folder_alone_what_it_measured_on_dev(learner, base, tmp_path):
    out, record = fit(learner, base, tmp_path, spec_of(epochs=15, eval_steps=15))
    best = max(r["eval_auc"] for r in record.history if "eval_auc" in r)
    assert best > 0.9
    frame = pairs(40)
    table = load(learner, out).predict(frame)
    assert table.schema == {
        "id": pl.String, "label": pl.String, "prob_0": pl.Float64, "prob_1": pl.Float64, "truncated": pl.Boolean
    }  # fmt: skip
    assert table["id"].equals(frame["id"])
    assert not table["truncated"].any()
    assert np.allclose(table["prob_0"] + table["prob_1"], 1)
    assert (table["label"] == (table["prob_1"] > table["prob_0"]).cast(pl.Int8).cast(pl.String)).all()
    from retune.evaluation.dev_metrics import auc

    assert auc(frame["label"].to_numpy(), table["prob_1"].to_numpy()) == pytest.approx(best, abs=1e-6)
    assert not list(out.rglob("*.bin"))
    assert not list(out.rglob("*.pt"))


@BOTH
def test_the_rows_of_a_batch_do_not_touch_each_other(learner, base, tmp_path):
    out, _ = fit(learner, base, tmp_path, spec_of(epochs=1))
    predictor = load(learner, out)
    frame = pairs(40)
    whole = predictor.predict(frame)
    alone = pl.concat([predictor.predict(frame[i]) for i in range(len(frame))])
    assert np.allclose(whole["prob_1"], alone["prob_1"], atol=1e-6)
    turned = predictor.predict(frame.reverse()).reverse()
    assert turned["id"].equals(frame["id"])
    assert np.allclose(whole["prob_1"], turned["prob_1"], atol=1e-6)
    assert len(predictor.predict(frame.clear())) == 0


@BOTH
def test_long_rows_are_cut_flagged_and_counted(learner, base, tmp_path):
    long = pairs().with_columns(text_a=pl.when(pl.col("id") == "r3").then(pl.lit("花呗" * 100)).otherwise("text_a"))
    out, record = fit(learner, base, tmp_path, spec_of(epochs=0.5, max_length=64), long)
    assert record.resources["truncated_rows"] == 1
    assert "1 of 64 training rows were cut at training.max_length 64 tokens." in record.messages
    table = load(learner, out).predict(long)
    assert table.filter("truncated")["id"].to_list() == ["r3"]


@BOTH
def test_no_row_is_longer_than_the_base_has_positions_for(learner, base, tmp_path, caplog):
    long = pairs(40).with_columns(text_a=pl.when(pl.col("id") == "r3").then(pl.lit("花呗" * 100)).otherwise("text_a"))
    with caplog.at_level(logging.WARNING, "retune"):
        out, record = fit(learner, base, tmp_path, spec_of(epochs=0.5, max_length=1024), long)
        table = load(learner, out).predict(long)
    line = "max_length 128: the checkpoint has no positions beyond, training.max_length is 1024"
    assert caplog.messages.count(line) == 2, "in the training, and in the prediction"
    cut = (
        "1 of 40 training rows were cut at 128 tokens, for which the base has positions (training.max_length is 1024)."
    )
    assert cut in record.messages
    assert table.filter("truncated")["id"].to_list() == ["r3"]


@pytest.mark.parametrize(("own", "hidden", "wanted"), [(0.0, 0.1, 0.0), (0.3, 0.1, 0.3), (None, 0.2, 0.2)])
def test_the_dropout_before_the_new_layer_is_the_checkpoints(own, hidden, wanted):
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9,
                        classifier_dropout=own, hidden_dropout_prob=hidden)  # fmt: skip
    assert Classifier(BertModel(config), "mean", 2).dropout.p == wanted


def test_of_a_pair_the_longer_text_is_cut_first(base):
    tokenizer = tokens.tokenizer_of(base)
    (row,) = tokens.encode(tokenizer, ["花" * 60], ["呗借"], 20)
    assert len(row.ids) == 20
    assert row.truncated
    assert tokenizer.decode(row.ids).replace(" ", "").endswith("[SEP]呗借[SEP]")
    assert row.types == [0] * 17 + [1] * 3


@BOTH
def test_two_fits_give_the_same_bytes(learner, base, tmp_path):
    first, second = (fit(learner, base, tmp_path / name, spec_of())[0] for name in "ab")
    assert digest(first) == digest(second)
    other, _ = fit(learner, base, tmp_path / "c", loads(json.dumps(spec_of() | {"seed": 8})))
    assert digest(first) != digest(other)


KILLED = """
import os, sys
from pathlib import Path
import torch
from retune.evaluation import dev_metrics
from tests.support import encoder_fit

torch.set_num_threads(1)
learner, base, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
measure, calls = dev_metrics.pair, []

def die(*arguments):
    calls.append(1)
    if len(calls) == 2:
        os._exit(9)
    return measure(*arguments)

dev_metrics.pair = die
encoder_fit.fit(learner, base, folder, encoder_fit.spec_of(loss={"r_drop": 1.0}))
"""


@BOTH
def test_a_killed_fit_resumes_to_the_same_bytes(learner, base, tmp_path):
    spec = spec_of(loss={"r_drop": 1.0})
    whole, want = fit(learner, base, tmp_path / "whole", spec)
    command = [f"{warm_python.folder()}/python", "-c", KILLED, learner, str(base), str(tmp_path / "killed")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 9, done.stderr
    assert [path.name for path in (tmp_path / "killed/scratch").iterdir()] == ["checkpoint-4"]
    resumed, got = fit(learner, base, tmp_path / "killed", spec)
    assert digest(whole) == digest(resumed)
    assert got.history == want.history


@BOTH
@pytest.mark.parametrize(
    "loss",
    [
        {"name": "focal"},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"adversarial": "fgm"},
        {"adversarial": "pgd"},
    ],
    ids=["focal", "balanced", "fgm", "pgd"],
)
def test_every_loss_trains_and_freezes_the_word_embeddings(learner, loss, base, tmp_path):
    out, record = fit(
        learner, base, tmp_path, spec_of(loss=loss, epochs=0.5, gradient_checkpointing="fgm" in loss.values())
    )
    before, after = (weights(folder) for folder in (base, out))
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(before[name], after[name])
    assert any(not torch.equal(before[key], after[key]) for key in after)
    assert np.isfinite(record.history[-1]["eval_loss"])


@BOTH
def test_word_embeddings_are_trained_where_asked(learner, base, tmp_path):
    out, record = fit(learner, base, tmp_path, spec_of(epochs=0.5, freeze_embeddings=False))
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(weights(base)[name], weights(out)[name])
    assert record.resources["parameters_trained"] == record.resources["parameters_total"]


@BOTH
def test_frozen_layers_and_all_below_them_stay_as_pretrained(learner, base, tmp_path):
    out, record = fit(learner, base, tmp_path, spec_of(epochs=0.5, freeze_layers=1))
    before, after = (weights(folder) for folder in (base, out))
    same = {name for name in after if torch.equal(before[name], after[name])}
    assert same == {name for name in after if name.startswith(("embeddings.", "encoder.layer.0."))}
    whole = fit(learner, base, tmp_path / "whole", spec_of(epochs=0.5))[1]
    assert record.resources["parameters_trained"] < whole.resources["parameters_trained"]
    with pytest.raises(RetuneError, match=r"freeze_layers is 99, but the encoder has \d+ layers: at most \d+"):
        fit(learner, base, tmp_path / "all", spec_of(freeze_layers=99))


@BOTH
def test_bfloat16_predicts_nearly_what_float32_does(learner, base, tmp_path):
    out, _ = fit(learner, base, tmp_path, spec_of(epochs=1, dtype="bfloat16"))
    exact, mixed = (load(learner, out, dtype).predict(pairs(40))["prob_1"] for dtype in ("float32", "bfloat16"))
    assert np.abs(exact - mixed).max() < 0.05
    assert not np.array_equal(exact, mixed)


def test_an_untuned_embedder_is_the_base_with_a_fitted_scale_and_bias(base, tmp_path):
    out, record = fit("embedder", base, tmp_path, spec_of(epochs=0))
    before, after = (weights(folder) for folder in (base, out))
    assert all(torch.equal(before[key], after[key]) for key in after)
    assert record.resources["parameters_trained"] == 2
    assert record.history[0]["step"] == 0
    predicted = load("embedder", out).predict(pairs(200))
    assert predicted["prob_1"].mean() == pytest.approx(pairs(200)["label"].mean(), abs=0.15)


def test_the_start_is_the_logistic_regression_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    cosines = random.uniform(0.7, 1.0, 400)
    labels = (random.uniform(size=400) < 1 / (1 + np.exp(-(20 * cosines - 17)))).astype(np.int8)
    scale, bias = logistic(cosines, labels, balanced=False)
    want = LogisticRegression(C=np.inf, tol=1e-8, max_iter=5000).fit(cosines[:, None], labels)
    assert scale == pytest.approx(want.coef_[0, 0], rel=0.03)
    assert bias == pytest.approx(want.intercept_[0], rel=0.03)


def test_a_start_on_separable_or_senseless_cosines_stays_sound():
    labels = np.array([0, 0, 1, 1] * 5)
    for cosines in (0.5 + 0.4 * labels, 0.9 - 0.4 * labels, np.full(20, 0.8)):
        scale, bias = logistic(cosines, labels, balanced=True)
        assert 1.0 <= scale < 1e3
        assert np.isfinite(bias)


def test_the_folder_opens_with_sentence_transformers(base, tmp_path):
    from sentence_transformers import SentenceTransformer

    out, _ = fit("embedder", base, tmp_path, spec_of(epochs=1))
    model = SentenceTransformer(str(out), device="cpu")
    frame = pairs(12)
    a, b = (model.encode(frame[column].to_list(), convert_to_tensor=True) for column in ("text_a", "text_b"))
    assert torch.allclose(a.norm(dim=1), torch.ones(12), atol=1e-5)
    cosines = (a * b).sum(-1).double().numpy()
    predictor = load("embedder", out)
    texts = PairTexts(predictor.tokenizer, predictor.prefix, frame, predictor.max_length)
    assert np.allclose(cosines, texts.cosines(predictor.model, predictor.chosen), atol=1e-5)


def test_each_distinct_text_is_embedded_once(base, tmp_path):
    frame = pairs(40)
    texts = PairTexts(tokens.tokenizer_of(base), "", frame, 64)
    assert len(texts.distinct.encoded) == pl.concat([frame["text_a"], frame["text_b"]]).n_unique() < 2 * len(frame)


def test_a_cross_encoder_pools_as_the_catalog_says_or_by_the_pooler_that_its_base_brings(tmp_path):
    for number, (pooler, declared, wanted) in enumerate(
        [(True, None, "pooler"), (False, None, "mean"), (True, "mean", "mean"), (True, "cls", "cls")]
    ):
        base = tiny_encoder(tmp_path / f"base{number}", pooler=pooler)
        source = json.loads((base / "SOURCE.json").read_text()) | {"pooling": declared}
        (base / "SOURCE.json").write_text(
            json.dumps({key: value for key, value in source.items() if value is not None})
        )
        out, _ = fit("encoder", base, tmp_path / f"fit{number}", spec_of(epochs=0.5))
        assert json.loads((out / "encoder.json").read_text())["pooling"] == wanted
        assert len(load("encoder", out).predict(pairs(4))) == 4


def test_an_untuned_cross_encoder_is_refused(base, tmp_path):
    with pytest.raises(RetuneError, match=r"training\.epochs is 0"):
        fit("encoder", base, tmp_path, spec_of(epochs=0))
