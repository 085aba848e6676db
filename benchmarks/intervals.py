"""How often intervals hold the truth, and how often p says "different" of two models that are equally good.

    python benchmarks/intervals.py                                      # a look, about two minutes
    python benchmarks/intervals.py --sets 300 --groups 6 12 26 60       # as in docs/statistics.md

Test sets of few groups are drawn from populations whose truth is known (measured on thousands of groups). Rows of a
group share a part of their chance, as companies, authors or queries do. Both models of a set are drawn alike, so every
difference is chance. Beside what Retune does stand plain percentiles, the p of the same bootstrap, and the plain ECE.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from retune.evaluation import bootstrap
from retune.evaluation.binary_metrics import BinaryAnswers
from retune.evaluation.calibration_error import BINS, bin_index
from retune.evaluation.intervals import point, summarise
from retune.evaluation.kinds import classification, pair, ranking, scoring
from retune.evaluation.measure import Measure
from retune.evaluation.multiclass_metrics import thirds
from retune.evaluation.score_metrics import ScoreAnswers
from retune.evaluation.swaps import SAME, swap_test

CONFIDENCE = 0.95
LABELS = 10
LARGE = 10_000
"""Groups of what stands for the whole population."""

Drawn = tuple[Any, Any, np.ndarray]
"""The answers of two models, and the group of each row."""


def pairs(random: np.random.Generator, groups: int, apart: float = 2.0) -> Drawn:
    """Ten rows a group, three of ten positive and so far `apart` from the others; each model is well calibrated."""
    of, share = np.repeat(np.arange(groups), 10), np.repeat(random.normal(size=groups), 10)
    labels = (random.random(len(of)) < 0.3).astype(np.int64)

    def model() -> BinaryAnswers:
        seen = apart * (labels - 0.5) + 0.6 * share + 0.8 * random.normal(size=len(of))
        chance = 1 / (1 + np.exp(-apart * seen - np.log(0.3 / 0.7)))
        return BinaryAnswers(labels, (chance >= 0.5).astype(np.int64), chance, of)

    return model(), model(), of


def overconfident(random: np.random.Generator, groups: int) -> Drawn:
    """The same, but the probabilities are too near to 0 and 1."""
    a, b, of = pairs(random, groups)
    wrong = [np.clip(one.probabilities, 1e-9, 1 - 1e-9) for one in (a, b)]
    a, b = (one._replace(probabilities=1 / (1 + ((1 - p) / p) ** 2)) for one, p in zip((a, b), wrong, strict=True))
    return a, b, of


def nearly_perfect(random: np.random.Generator, groups: int) -> Drawn:
    """The same as `pairs`, but so far apart that many a test set has no error at all."""
    return pairs(random, groups, apart=4.0)


def labels(random: np.random.Generator, groups: int) -> Drawn:
    """Five rows a group of ten labels, the frequent one forty times as frequent as the rarest."""
    of, share = np.repeat(np.arange(groups), 5), np.repeat(random.normal(size=groups), 5)
    frequency = 0.66 ** np.arange(LABELS)
    gold = random.choice(LABELS, len(of), p=frequency / frequency.sum())

    def model() -> Any:
        right = share + random.normal(size=len(of)) > -0.9
        logits = random.normal(size=(len(of), LABELS)) + np.log(frequency)
        logits[np.arange(len(of)), gold] += np.where(right, 8.0, 0.0)
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        seen = np.ones(len(of), dtype=bool)
        return classification.answered(logs, gold, seen, thirds(list(range(LABELS, 0, -1))), of)

    return model(), model(), of


def rankings(random: np.random.Generator, groups: int) -> Drawn:
    """Three queries a group with five judged documents each."""
    of, codes = np.repeat(np.arange(groups), 15), np.repeat(np.arange(3 * groups), 5)
    relevance = random.choice([0.0, 0.33, 0.67, 1.0], len(of))
    strength = np.repeat(np.exp(random.normal(0, 0.7, groups)), 15)

    def model() -> Any:
        scores = strength * relevance + random.normal(size=len(of))
        return ranking.answered(relevance, np.ones(len(of)), codes, scores, np.full(len(of), 0.5))

    return model(), model(), of


def scores(random: np.random.Generator, groups: int) -> Drawn:
    """A document a group, scored from 1 to 10 in six dimensions of different levels."""
    of, dimensions = np.repeat(np.arange(groups), 6), np.tile(np.arange(6), groups)
    level = 3.0 + 0.8 * dimensions
    quality, halo = np.repeat(random.normal(size=groups), 6), np.repeat(random.normal(size=groups), 6)
    gold = np.clip(np.round(level + quality + random.normal(size=len(of))), 1, 10)

    def model() -> ScoreAnswers:
        said = level + 0.5 * (gold - level) + 0.6 * halo + 0.8 * random.normal(size=len(of))
        seen = np.ones(len(of), dtype=bool)
        return ScoreAnswers(gold, np.clip(said, 1, 10), seen, level, dimensions, (1, 10), (4, 8))

    return model(), model(), of


POPULATIONS: dict[str, tuple[Callable[[np.random.Generator, int], Drawn], Measure[Any], tuple[str, ...]]] = {
    "pairs": (pairs, pair.MEASURE, ("accuracy", "f1", "precision", "auc", "calibration_error")),
    "pairs, nearly perfect": (nearly_perfect, pair.MEASURE, ("accuracy", "auc")),
    "pairs, overconfident": (overconfident, pair.MEASURE, ("calibration_error",)),
    "ten labels": (labels, classification.MEASURE, ("macro_f1", "accuracy")),
    "rankings": (rankings, ranking.MEASURE, ("ndcg@10", "pooled_spearman")),
    "scores": (scores, scoring.MEASURE, ("mae", "spearman")),
}


def main() -> None:
    """Draw, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=60, help="test sets of each population and number of groups")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--groups", type=int, nargs="+", default=[6, 12, 26])
    options = parser.parse_args()
    print(f"Each cell: {', '.join(map(str, options.groups))} groups.\n")
    print("| population | metric | held, plain | held | differences | false alarms, bootstrap | false alarms |")
    print("|:--|:--|:-:|:-:|:-:|:-:|:-:|")
    for name, (_, _, metrics) in POPULATIONS.items():
        found = [simulate(name, groups, options.sets, options.resamples) for groups in options.groups]
        for metric in metrics:
            cells = [
                " ".join(f"{share:.2f}".removeprefix("0") for share in of)
                for of in zip(*(one[metric] for one in found), strict=True)
            ]
            print(f"| {name} | {metric} | " + " | ".join(cells) + " |", flush=True)


def simulate(name: str, groups: int, sets: int, times: int) -> dict[str, tuple[float, ...]]:
    """For each metric the share of sets whose interval holds the truth, and in which p is below 0.05.

    Held by plain percentiles, held as Retune measures, the interval of the difference of the two models holds 0; p of
    the bootstrap, p as Retune measures. Of the calibration error, the first interval is that of the plain ECE, moved
    onto its value.
    """
    draw, measure, metrics = POPULATIONS[name]
    truth = true_values(name)
    held: dict[str, list[tuple[bool, ...]]] = {metric: [] for metric in metrics}
    for number in range(sets):
        a, b, of = draw(np.random.default_rng([number + 1, groups]), groups)
        first, second = bootstrap.replicates(measure, [a, b], of, times, number)
        found, tests = summarise(measure, a, of, first, CONFIDENCE), swap_test(measure, a, b, of, times, number)
        known = bootstrap.informative(measure, a, of)
        for metric in metrics:
            p = tests[metric]
            low, high = bootstrap.interval(first[metric] - second[metric], CONFIDENCE, known[metric])
            plain = percentiles(first[metric]), truth[metric]
            if metric == "calibration_error":
                plain = ece_interval(a, of, times, number), truth["ece"]
            held[metric].append(
                (
                    plain[0][0] <= plain[1] <= plain[0][1],
                    found[metric]["low"] <= truth[metric] <= found[metric]["high"],
                    low - SAME <= 0 <= high + SAME,
                    bootstrap_p(first[metric] - second[metric]) < 1 - CONFIDENCE,
                    p is not None and p.value < 1 - CONFIDENCE,
                )
            )
    return {metric: tuple(np.mean(rows, axis=0)) for metric, rows in held.items()}


@functools.cache
def true_values(name: str) -> dict[str, float]:
    """Every metric, and the plain ECE, on a population of thousands of groups."""
    draw, measure, metrics = POPULATIONS[name]
    given, _, of = draw(np.random.default_rng(0), LARGE)
    found = point(measure, given)
    if "calibration_error" in metrics:
        found["ece"] = float(ece(given, np.ones((1, LARGE)), of)[0])
    return found


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """The plain percentile interval."""
    low, high = np.nanquantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def bootstrap_p(differences: np.ndarray) -> float:
    """Twice the smaller share of the replicates on either side of 0."""
    known = differences[~np.isnan(differences)]
    return min(1.0, 2 * (1 + min((known <= 0).sum(), (known >= 0).sum())) / (1 + len(known)))


def ece(given: BinaryAnswers, counts: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The plain expected calibration error of resamples [b, groups], [b]."""
    bins = bin_index(given.probabilities)
    gaps = np.zeros((int(of.max()) + 1, BINS))
    np.add.at(gaps, (of, bins), given.probabilities - given.labels)
    return np.abs(counts @ gaps).sum(1) / (counts @ np.bincount(of))


def ece_interval(given: BinaryAnswers, of: np.ndarray, times: int, seed: int) -> tuple[float, float]:
    """The percentile interval of the plain ECE, moved so that the mean of the replicates is the value."""
    number = int(of.max()) + 1
    counts = np.concatenate(list(bootstrap.resamples(number, times, seed, len(of))))
    draws = ece(given, counts, of)
    low, high = percentiles(draws - draws.mean() + ece(given, np.ones((1, number)), of)[0])
    return max(0.0, low), high


if __name__ == "__main__":
    main()
