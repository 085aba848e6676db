"""What a training measures on dev, and the collapse that is seen in it."""

import logging

import numpy as np
import pytest

from retune.evaluation import dev_metrics
from retune.params import Params
from retune.training import checkpoint_choice


def test_auc_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score, log_loss, roc_auc_score

    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 2, 200), random.integers(-3, 4, 200) / 2
    metrics = dev_metrics.pair(labels, logits)
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, logits))
    assert metrics["f1"] == pytest.approx(f1_score(labels, logits > 0))
    assert metrics["loss"] == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-logits))))
    assert dev_metrics.auc(np.ones(5), np.arange(5.0)) == 0.5


def test_the_noise_of_the_auc_covers_95_percent_of_blind_models():
    random = np.random.default_rng(0)
    labels = (np.arange(300) < 90).astype(int)
    scores = [dev_metrics.auc(labels, random.normal(size=300)) for _ in range(400)]
    inside = np.mean(np.abs(np.array(scores) - 0.5) <= dev_metrics.auc_noise(labels))
    assert 0.92 < inside < 0.98


def test_a_collapse_to_one_class_is_seen_said_and_warned_of(caplog):
    options = Params(select="auc", patience=0, checkpoint="best")
    blind = {"step": 4, "eval_auc": 0.51, "eval_auc_noise": 0.03, "eval_positives": 0.0}
    with caplog.at_level(logging.WARNING, "retune"):
        (said,) = checkpoint_choice.warnings([blind], options)
    assert said in caplog.messages
    assert "every dev row gets label 0" in said
    assert "0.510 is no better than chance (0.5 +- 0.030)" in said
    ordered = blind | {"eval_auc": 0.8}
    assert "calibration can set a threshold" in checkpoint_choice.warnings([ordered], options)[0]
    sound = ordered | {"eval_positives": 0.3}
    assert checkpoint_choice.warnings([sound], options) == []
