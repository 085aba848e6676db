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


def test_spearman_on_dev_is_within_the_dimensions():
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    dimensions = random.choice(["a", "b", "c"], 90, p=[0.6, 0.3, 0.1])
    level = 4.0 * (dimensions == "a")
    gold = np.where(dimensions == "c", 9.0, level + random.integers(0, 4, 90))
    said = level + random.normal(0, 1, 90)
    found = dev_metrics.numbers(gold, said, dimensions)["spearman"]
    parts = [dimensions == name for name in "ab"]
    each = [spearmanr(gold[part], said[part]).statistic for part in parts]
    assert found == pytest.approx(np.average(each, weights=[part.sum() for part in parts]))
    assert abs(found) < 0.3 < dev_metrics.numbers(gold, said)["spearman"]
    assert dev_metrics.numbers(gold, level, dimensions)["spearman"] == 0.0
    codes = gold.astype(int)
    log_probs = np.log(np.where(np.arange(10) == np.clip(np.round(said), 0, 9)[:, None], 0.91, 0.01))
    expected = np.exp(log_probs) @ np.arange(10)
    of = dev_metrics.of("scoring", codes, log_probs, dimensions)
    assert of["spearman"] == dev_metrics.numbers(gold, expected, dimensions)["spearman"]


def test_the_noise_of_the_auc_covers_95_percent_of_blind_models():
    random = np.random.default_rng(0)
    labels = (np.arange(300) < 90).astype(int)
    scores = [dev_metrics.auc(labels, random.normal(size=300)) for _ in range(400)]
    inside = np.mean(np.abs(np.array(scores) - 0.5) <= dev_metrics.auc_noise(labels))
    assert 0.92 < inside < 0.98


def test_a_collapse_to_one_class_is_seen_said_and_warned_of(caplog):
    options = Params(learning_rate=1e-5, epochs=1, select="auc", patience=0, checkpoint="best", head="random")
    spec = Params(kind="pair", learner="encoder", training=options)
    blind = {"step": 4, "eval_auc": 0.51, "eval_auc_noise": 0.03, "eval_positives": 0.0}
    with caplog.at_level(logging.WARNING, "retune"):
        (said,) = checkpoint_choice.warnings([blind], spec)
    assert said in caplog.messages
    assert "every dev row gets label 0" in said
    assert said.endswith(
        "try another training.learning_rate (now 1e-05; auto suits the learner), training.head: probe (now random), "
        "more training.epochs (now 1), or the learner `embedder`."
    )
    assert "0.510 is no better than chance (0.5 +- 0.030)" in said
    ordered = blind | {"eval_auc": 0.8}
    assert "calibration can set a threshold" in checkpoint_choice.warnings([ordered], spec)[0]
    sound = ordered | {"eval_positives": 0.3}
    assert checkpoint_choice.warnings([sound], spec) == []


def test_the_trivial_macro_f1_is_that_of_scikit_learns_dummies():
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    for codes in (np.repeat(np.arange(29), 20), np.array([0] * 90 + [1] * 10), random.integers(0, 77, 4000)):
        rows = np.zeros((len(codes), 1))
        constant = DummyClassifier(strategy="most_frequent").fit(rows, codes).predict(rows)
        drawn = [random.integers(0, codes.max() + 1, len(codes)) for _ in range(30)]
        draws = np.mean([f1_score(codes, one, average="macro") for one in drawn])
        found = dev_metrics.classes(codes, np.zeros((len(codes), codes.max() + 1)))["trivial_macro_f1"]
        assert found == pytest.approx(max(f1_score(codes, constant, average="macro"), draws), abs=0.04)
        assert found >= f1_score(codes, constant, average="macro") - 1e-9


def test_a_model_hardly_better_than_an_answer_without_a_look_is_warned_of_with_the_keys_that_help():
    options = Params(learning_rate=3e-5, epochs=1, max_rows=200, select="macro_f1", checkpoint="best", head="probe")
    spec = Params(kind="classification", learner="encoder", training=options)
    codes = np.repeat(np.arange(77), 10)
    hardly, well = (np.zeros((770, 77)) for _ in range(2))
    hardly[np.arange(770), np.where(np.arange(770) % 60 == 0, codes, (codes * 7 + np.arange(770)) % 5)] = 9.0
    well[np.arange(770), codes] = 9.0
    records = [
        {"step": 1} | {f"eval_{name}": value for name, value in dev_metrics.classes(codes, logits).items()}
        for logits in (hardly, well)
    ]
    assert 0.013 < records[0]["eval_macro_f1"] < 0.06, "above the trivial answer, and next to nothing"
    (said,) = checkpoint_choice.warnings(records[:1], spec)
    assert said.startswith("Learned next to nothing: its dev macro_f1 is 0.0")
    assert "that of an answer without a look at the row 0.013; try another training.learning_rate (now 3e-05" in said
    assert said.endswith("more training.epochs (now 1), or a higher training.max_rows (now 200).")
    assert "head" not in said
    assert checkpoint_choice.warnings(records[1:], spec) == []


def test_the_remedy_names_what_makes_training_rows_few_or_short_where_the_model_has_it():
    options = Params(learning_rate=3e-5, epochs=2, max_rows=None)
    plain = Params(kind="scoring", learner="llm", training=options)
    keys = ("curriculum[].data_ratio", "training.thinking", "training.max_length")
    assert not any(key in checkpoint_choice.remedy(plain) for key in keys)
    stages = [{"name": "basic", "data_ratio": 0.3}, {"name": "all", "data_ratio": 1.0}]
    full = Params(plain | {"training": Params(options | {"thinking": True, "max_length": 256}), "curriculum": stages})
    assert checkpoint_choice.remedy(full) == (
        "another training.learning_rate (now 3e-05; auto suits the learner), more curriculum[].epochs (now 2), a "
        "higher curriculum[].data_ratio (now 0.3, 1), training.thinking: false (now true), or a higher "
        "training.max_length (now 256) if it cuts rows"
    )
    whole = Params(full | {"training": Params(options | {"thinking": False}), "curriculum": stages[1:]})
    assert not any(key in checkpoint_choice.remedy(whole) for key in keys)


def test_an_auc_that_only_many_rows_tell_from_chance_is_next_to_nothing():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    labels = (random.random(20_000) < 0.3).astype(int)
    hardly, better = (random.normal(size=20_000) + gain * labels for gain in (0.06, 0.3))
    score = roc_auc_score(labels, hardly)
    assert 0.5 + dev_metrics.auc_noise(labels) < score < 0.525
    said = dev_metrics.problem(dev_metrics.pair(labels, hardly), "this") or ""
    assert said.startswith(f"Learned next to nothing: its dev auc is {score:.3f}")
    assert dev_metrics.problem(dev_metrics.pair(labels, better), "this") is None


def test_scores_of_which_most_are_the_same_are_judged_by_their_order_too():
    random = np.random.default_rng(0)
    dimensions, targets = np.repeat([0, 1], 100), np.where(random.random(200) < 0.8, 8.0, random.integers(3, 8, 200))
    sound, blind = 7.0 + 0.5 * (targets == 8) + random.normal(0, 0.1, 200), 7.5 + random.normal(0, 0.1, 200)
    found = dev_metrics.numbers(targets, sound, dimensions)
    assert found["mae"] > found["trivial_mae"], "the constant 8 is better in that"
    assert found["spearman"] > 0.5
    assert dev_metrics.problem(found, "this") is None
    drawn = [dev_metrics.numbers(targets, random.permutation(blind), dimensions) for _ in range(400)]
    assert 0.95 < np.mean([draw["spearman"] < draw["trivial_spearman"] for draw in drawn]) < 0.995
    assert "mae is" in (dev_metrics.problem(dev_metrics.numbers(targets, np.full(200, 8.0), dimensions), "this") or "")


def test_a_constant_score_and_a_random_order_are_trivial_too():
    import polars as pl

    from retune.evaluation import ranking_dev_metrics

    targets = np.array([1.0, 5.0, 5.0, 8.0])
    assert "mae is 1.750" in (dev_metrics.problem(dev_metrics.numbers(targets, np.full(4, 5.0)), "this") or "")
    assert dev_metrics.problem(dev_metrics.numbers(targets, targets + 0.5), "this") is None
    rows = pl.DataFrame({"query": ["a"] * 4 + ["b"] * 4, "group": ["g"] * 8, "relevance": [1.0, 0.0, 0.0, 0.0] * 2})
    chance = np.mean([1 / np.log2(rank + 2) for rank in range(4)])
    blind = ranking_dev_metrics.of(rows, np.zeros(8), 0.0)
    assert blind["trivial_ndcg"] == pytest.approx(chance) == blind["ndcg"]
    assert (dev_metrics.problem(blind, "this") or "").endswith("try this.")
    assert dev_metrics.problem(ranking_dev_metrics.of(rows, np.array([3, 2, 1, 0.0] * 2), 0.0), "this") is None
    assert set(dev_metrics.of_the_model(blind)) == {"loss", "ndcg", "spearman"}
