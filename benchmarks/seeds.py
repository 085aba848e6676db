"""How often comparisons of models with several seeds err: two equal procedures, whose seeds make a real difference.

    python benchmarks/seeds.py                                          # a look, under a minute
    python benchmarks/seeds.py --sets 400 --groups 30 100               # as in docs/statistics.md

Each set draws test rows (of kind pair, ten a group) and some trainings of each of two models. All are drawn alike, but
each training has a skill of its own, so that one seed is better than another; the truth is no difference. `ratio` is
the variance of the metric over the seeds, less the chance of the rows, by the variance that the rows give to the
difference of two trainings. Beside what Retune does stand three things that one could do instead: swaps of groups
between the first seeds alone, as for models without seeds; swaps between the means over the seeds; and percentiles of
a bootstrap that draws seeds and groups with replacement.
"""

from __future__ import annotations

import argparse

import numpy as np

from retune.evaluation import bootstrap
from retune.evaluation.seeds import System, difference, spread
from retune.evaluation.swaps import SAME, swaps

CONFIDENCE, ROWS = 0.95, 10
METRICS = ("accuracy", "f1")
SPREADS = {"none": 0.0, "small": 0.12, "middle": 0.25, "large": 0.6}
"""Standard deviation of a training's skill, beside rows whose two labels are 2 apart."""
DESIGNS = ((5, 5), (3, 3), (2, 2), (3, 5), (1, 5), (1, 3), (1, 2))
"""Seeds of the one and of the other model."""

Counts = np.ndarray
"""Rows of each group that are true positive, false positive, false negative, true negative, [groups, 4]."""


def trainings(random: np.random.Generator, seeds: int, sd: float, labels: np.ndarray, shared: np.ndarray) -> Counts:
    """What trainings of one procedure make of the rows, [seeds, groups, 4]; `shared`: what all find hard in them."""
    own = shared + 0.5 * random.normal(size=len(labels))  # what this procedure finds hard
    found = []
    for _ in range(seeds):
        apart = 2.0 + sd * random.normal()
        seen = apart * (labels - 0.5) + own + 0.6 * random.normal(size=len(labels))
        said = seen >= 0.42  # log-odds of three in ten
        cells = np.stack([labels & said, ~labels & said, labels & ~said, ~labels & ~said], axis=1)
        found.append(cells.reshape(-1, ROWS, 4).sum(1))
    return np.stack(found).astype(np.float64)


def metric(name: str, counts: np.ndarray) -> np.ndarray:
    """A metric [...] of sums over groups [..., 4]."""
    right, wrong, missed, other = np.moveaxis(counts, -1, 0)
    if name == "accuracy":
        return np.asarray((right + other) / counts.sum(-1))
    return np.asarray(2 * right / np.maximum(2 * right + wrong + missed, 1))


def simulate(design: tuple[int, int], sd: float, groups: int, sets: int, times: int) -> dict[str, np.ndarray]:
    """For each metric the shares of sets: held, p below 0.05 of Retune, first seeds, means, both drawn; ratio."""
    found: dict[str, list[list[float]]] = {name: [] for name in METRICS}
    for number in range(sets):
        random = np.random.default_rng([number + 1, groups, *design, int(1000 * sd)])
        labels = random.random(groups * ROWS) < 0.3
        shared = 0.6 * np.repeat(random.normal(size=groups), ROWS)
        sides = [trainings(random, seeds, sd, labels, shared) for seeds in design]
        drawn = np.concatenate(list(bootstrap.resamples(groups, times, number, groups)))
        swapped = np.concatenate(list(swaps(groups, times, number, groups)))
        for name in METRICS:
            a, b = (
                System([float(metric(name, one.sum(0))) for one in side], [metric(name, drawn @ one) for one in side])
                for side in sides
            )
            said = difference(a, b, CONFIDENCE, groups)
            low, high = both_drawn(a, b, random, groups)
            found[name].append(
                [
                    said["low"] <= 0 <= said["high"],
                    said["p"] < 1 - CONFIDENCE,
                    swap_p(name, sides[0][:1], sides[1][:1], swapped) < 1 - CONFIDENCE,
                    swap_p(name, *sides, swapped) < 1 - CONFIDENCE,
                    not low - SAME <= 0 <= high + SAME,
                    ratio(a, b, groups),
                ]
            )
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


def swap_p(name: str, a: Counts, b: Counts, swapped: np.ndarray) -> float:
    """The p of swapping groups between the means over seeds [seeds, groups, 4], as `retune.evaluation.swaps` does."""

    def between(given: np.ndarray) -> np.ndarray:
        kept = 1.0 - given
        first, second = ([metric(name, kept @ x + given @ y) for x, y in pairs] for pairs in (ab, ba))
        return np.asarray(np.mean(first, axis=0) - np.mean(second, axis=0))

    ab = [(a[i % len(a)], b[i % len(b)]) for i in range(max(len(a), len(b)))]
    ba = [(y, x) for x, y in ab]
    observed = between(np.zeros((1, a.shape[1])))
    return float((1 + (np.abs(between(swapped)) >= np.abs(observed) - SAME).sum()) / (1 + len(swapped)))


def ratio(a: System, b: System, groups: int) -> float:
    """The variance by seeds of the model with more of them, by that of the difference of two trainings by rows."""
    more = max((a, b), key=lambda one: one.seeds)
    by_seeds = spread(more, groups)
    return (by_seeds.variance if by_seeds else 0.0) / max(1e-12, float((a.draws[0] - b.draws[0]).var()))


def both_drawn(a: System, b: System, random: np.random.Generator, groups: int) -> tuple[float, float]:
    """The percentile interval of a bootstrap that draws the seeds of each model, and the groups, with replacement."""
    sides = []
    for one in (a, b):
        table = np.stack(one.draws)
        drawn = random.integers(0, one.seeds, size=table.shape)
        sides.append(np.take_along_axis(table, drawn, axis=0).mean(0))
    return bootstrap.interval(sides[0] - sides[1], CONFIDENCE, groups) or (0.0, 0.0)


def main() -> None:
    """Draw, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=100, help="pairs of equal models of each design and spread")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--groups", type=int, nargs="+", default=[30])
    designs = [f"{one}-{other}" for one, other in DESIGNS]
    parser.add_argument("--designs", nargs="+", choices=designs, default=designs, help="seeds of the two models")
    options = parser.parse_args()
    print(f"Each cell: {', '.join(map(str, options.groups))} groups.\n")
    print("| seeds | spread | metric | ratio | held | false alarms | first seeds | means | both drawn |")
    print("|:--|:--|:--|:-:|:-:|:-:|:-:|:-:|:-:|")
    for design in DESIGNS:
        if "-".join(map(str, design)) not in options.designs:
            continue
        for spread_name, sd in SPREADS.items():
            found = [simulate(design, sd, groups, options.sets, options.resamples) for groups in options.groups]
            for name in METRICS:
                held = np.stack([one[name] for one in found])
                cells = [" ".join(f"{share:.3f}".removeprefix("0") for share in column) for column in held.T[:-1]]
                first = " ".join(f"{one:.1f}" for one in held[:, -1])
                head = f"{design[0]} and {design[1]} | {spread_name} | {name} | {first}"
                print(f"| {head} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
