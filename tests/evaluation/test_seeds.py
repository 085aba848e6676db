"""Models with several seeds: mean and spread, differences over rows and seeds, and what a single training is worth."""

import numpy as np
import pytest

from retune.evaluation import comparison
from retune.evaluation.binary_metrics import METRICS, BinaryAnswers
from retune.evaluation.bootstrap import resamples
from retune.evaluation.kinds import pair
from retune.evaluation.seeds import Seeded, System, difference, spread, summary
from retune.evaluation.student_t import quantile, two_sided
from retune.params import Params

SPEC = Params(bootstrap=200, confidence=0.95, seed=0)
GROUPS = 40


def trained(random, seeds, skill, drawn, shared):
    """A model whose metric is the mean over groups of what its trainings score on them: [seeds] skills, own noise."""
    scores = [shared + skill * random.normal() + 0.7 * random.normal(size=GROUPS) for _ in range(seeds)]
    return System([float(one.mean()) for one in scores], [drawn @ one / GROUPS for one in scores])


def alarms(design, skill, sets=300):
    found = []
    for number in range(sets):
        random = np.random.default_rng([number, *design])
        drawn = np.concatenate(list(resamples(GROUPS, 100, number, GROUPS)))
        shared = random.normal(size=GROUPS)
        a, b = (trained(random, seeds, skill, drawn, shared + 0.7 * random.normal(size=GROUPS)) for seeds in design)
        said = difference(a, b, 0.95, GROUPS)
        assert (said["p"] < 0.05) == (not said["low"] <= 0 <= said["high"]), "interval and p agree"
        found.append(said["p"] < 0.05)
    return np.mean(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "skill"), [((5, 5), 0.0), ((5, 5), 0.6), ((3, 3), 0.15), ((3, 3), 0.6), ((1, 5), 0.6)]
)
def test_equal_procedures_are_called_different_about_as_often_as_p_says(design, skill):
    assert 0.015 <= alarms(design, skill) <= 0.085


def test_first_seeds_alone_would_be_called_different_far_more_often():
    """What the test above would miss if the simulation had no seed variance worth the name."""
    found = []
    for number in range(100):
        random = np.random.default_rng(number)
        drawn = np.concatenate(list(resamples(GROUPS, 100, number, GROUPS)))
        a, b = (trained(random, 1, 0.6, drawn, np.zeros(GROUPS)) for _ in "ab")
        found.append(difference(a, b, 0.95, GROUPS)["p"] < 0.05)
    assert np.mean(found) > 0.4


def system(values, noise=0.0, **more):
    random = np.random.default_rng(5)
    common = 0.02 * random.normal(size=2000)
    return System(values, [value + common + noise * random.normal(size=2000) for value in values], **more)


def test_spread_is_what_the_seeds_do_beyond_the_chance_of_the_rows():
    found = spread(system([0.80, 0.84, 0.82]), 1000)
    assert found.seen == pytest.approx(0.0004)
    assert found.variance == pytest.approx(0.0004, rel=1e-6), "the seeds share the rows' luck, so none of it is theirs"
    noisy = spread(system([0.80, 0.84, 0.82], noise=0.01), 1000)
    assert noisy.variance == pytest.approx(0.0003, rel=0.1)
    assert spread(system([0.80, 0.801, 0.80], noise=0.01), 1000).variance == 0
    assert spread(system([0.8]), 1000) is None


def test_a_difference_has_the_variance_of_rows_and_of_seeds():
    a, b = system([0.80, 0.84, 0.82]), system([0.7, 0.7, 0.7])
    found = difference(a, b, 0.95, 1000)
    assert found["difference"] == pytest.approx(0.12)
    error = np.sqrt(0.0004 / 3)
    degrees = 2
    assert found["high"] - found["difference"] == pytest.approx(quantile(0.95, degrees) * error, rel=1e-3)
    assert found["p"] == pytest.approx(two_sided(0.12 / error, degrees), rel=1e-3)


def test_three_seeds_never_count_as_two():
    random, values = np.random.default_rng(1), [0.80, 0.84, 0.82]
    few = System(values, [value + 0.012 * random.normal(size=2000) for value in values])
    found = difference(few, System([0.7], [np.full(2000, 0.7)], fixed=True), 0.95, 1000)
    error = np.sqrt(spread(few, 1000).variance / 3 + few.mean_draws.var())
    assert spread(few, 1000).variance < 0.8 * spread(few, 1000).seen, "else nothing is subtracted"
    assert found["high"] - found["difference"] <= quantile(0.95, 2) * error * 1.001


def test_one_training_varies_as_the_other_model_does_and_a_fixed_model_not_at_all():
    many, one = system([0.80, 0.84, 0.82]), [0.7]
    known = difference(many, system(one, fixed=True), 0.95, 1000)
    unknown = difference(many, system(one), 0.95, 1000)
    width = {key: found["high"] - found["low"] for key, found in (("known", known), ("unknown", unknown))}
    assert width["unknown"] == pytest.approx(2 * width["known"], rel=1e-3), "1/3 + 1 of the variance in place of 1/3"
    mean = difference(many, system([0.83], of=many), 0.95, 1000)
    assert mean["high"] - mean["low"] == pytest.approx(width["known"], rel=1e-3), "the same trainings on both sides"


def test_the_same_from_either_side_and_none_from_itself():
    a, b = system([0.80, 0.84, 0.82], noise=0.01), system([0.79, 0.81])
    forth, back = difference(a, b, 0.95, 50), difference(b, a, 0.95, 50)
    assert forth["difference"] == pytest.approx(-back["difference"])
    assert (forth["low"], forth["p"]) == pytest.approx((-back["high"], back["p"]))
    assert difference(a, a, 0.95, 50)["p"] == 1
    constant = System([0.5], [np.full(10, 0.5)], fixed=True)
    assert difference(constant, constant, 0.95, 50)["p"] == 1


def test_what_has_no_meaning_is_null():
    nothing = System([float("nan"), 0.5], [np.full(2000, np.nan), np.full(2000, 0.5)])
    assert difference(nothing, system([0.5, 0.6]), 0.95, 50) == {
        "difference": None, "low": None, "high": None, "p": None, "at_most": False
    }  # fmt: skip
    assert summary(pair.MEASURE, "f1", nothing, 0.95, 50)["sd"] is None
    assert difference(system([0.5, 0.6]), system([0.5]), 0.95, 1)["p"] is None, "one group has no variance"


def model(seed, strength, n=300):
    labels = (np.random.default_rng(99).random(n) < 0.3).astype(int)
    generator = np.random.default_rng(seed)
    probabilities = 1 / (1 + np.exp(-strength * (labels - 0.5) - generator.normal(size=n)))
    return BinaryAnswers(labels, (probabilities >= 0.5).astype(int), probabilities)


def test_comparisons_are_of_means_over_seeds_and_leave_other_pairs_as_they_are():
    models = {"a": model(0, 2.0), "b": model(1, 1.0), "c": model(2, 1.5)}
    groups = np.arange(300) // 3
    plain = comparison.compare(pair, models, groups, SPEC)
    seeded = Seeded({"a": [model(3, 3.0), model(4, 2.0)]}, fixed=["c"])
    found = comparison.compare(pair, models, groups, SPEC, seeded)
    trained = [models["a"], *seeded.members["a"]]
    right = [float((one.decisions == one.labels).mean()) for one in trained]
    over = found["seeds"]["a"]["accuracy"]
    assert over["values"] == pytest.approx(right)
    assert (over["value"], over["sd"]) == pytest.approx((np.mean(right), np.std(right, ddof=1)))
    assert (over["least"], over["most"]) == pytest.approx((min(right), max(right)))
    assert over["low"] < over["value"] < over["high"]
    assert list(found["seeds"]) == ["a"]
    pairs = {(one["a"], one["b"]): one for one in found["pairs"]}
    before = {(one["a"], one["b"]): one for one in plain["pairs"]}
    other = float((models["b"].decisions == models["b"].labels).mean())
    assert pairs["a", "b"]["metrics"]["accuracy"]["difference"] == pytest.approx(np.mean(right) - other)
    wins = [pair.wins(one, models["b"]) for one in trained]
    assert pairs["a", "b"]["wins"]["only_a"] == round(np.mean([one[0] for one in wins]))
    for metric in METRICS:
        kept = ("difference", "low", "high", "p_uncorrected")
        assert [pairs["b", "c"]["metrics"][metric][key] for key in kept] == [
            before["b", "c"]["metrics"][metric][key] for key in kept
        ]
    assert found["over_ignorant"]["b"]["f1"]["low"] == plain["over_ignorant"]["b"]["f1"]["low"]
    assert found["over_ignorant"]["a"] != plain["over_ignorant"]["a"]
    assert "seeds" not in plain
