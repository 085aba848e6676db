"""What `abstain` promises against what it keeps, over calibration splits drawn from populations that are known.

    python benchmarks/abstain.py                       # the tables of docs/abstain.md, some minutes

Rows have a chance to be decided right, which the model's confidence tells exactly (`known`), roughly (`rough`) or not
at all (`unrelated`); in groups of ten, rows of one group are alike in both. Each split fits a threshold; what it keeps
is measured on 200,000 rows of the population.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np

from retune.evaluation import abstention
from retune.evaluation.abstention import NEVER, Decisions

POPULATIONS = ("known", "rough", "unrelated")
LARGE = 200_000
SHARED = 0.5
"""Share of the variance, of confidence and of errors, that rows of one group have in common."""


def draw(random: np.random.Generator, name: str, rows: int, size: int) -> Decisions:
    """So many rows in groups of `size`: about one in nine is decided wrong."""

    def normal() -> np.ndarray:
        own, common = random.normal(size=rows), np.repeat(random.normal(size=rows // size), size)
        return own if size == 1 else np.sqrt(1 - SHARED) * own + np.sqrt(SHARED) * common

    hidden, luck = 3.0 + 1.5 * normal(), normal()
    right = 1 / (1 + np.exp(-hidden))
    said = {"known": hidden, "rough": hidden + 1.5 * random.normal(size=rows), "unrelated": 3.0 + 1.5 * normal()}[name]
    below = np.array([math.erf(one / math.sqrt(2)) for one in luck]) / 2 + 0.5  # uniform
    of = np.repeat(np.arange(rows // size), size)
    return Decisions(1 / (1 + np.exp(-said)), (below > right).astype(np.int64), of)


def main() -> None:
    """Draw, fit, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 4000])
    parser.add_argument("--large", type=int, default=LARGE, help="rows on which what is kept is measured")
    options = parser.parse_args()
    print("| confidence | rows | a group | coverage 0.8 | 0.9 | 0.95 |\n|:--|--:|--:|:-:|:-:|:-:|")
    for name, rows, size, fits in drawn(options):
        whole, splits = fits
        cells = []
        for promised in (0.8, 0.9, 0.95):
            count = rows // size
            below = [abstention.coverage_threshold(one.confidences, promised, count) for one in splits]
            kept = [float((whole.confidences >= one).mean()) for one in below]
            cells.append(f"{np.mean(kept):.3f} ({np.quantile(kept, 0.05):.2f}-{np.quantile(kept, 0.95):.2f})")
        print(f"| {name} | {rows:,} | {size} | {' | '.join(cells)} |", flush=True)
    print("\n| confidence | rows | a group | error | broken | error kept | answered | nothing |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|")
    for name, rows, size, fits in drawn(options):
        whole, splits = fits
        for promised in (0.05, 0.1):
            print(f"| {name} | {rows:,} | {size} | {promised:g} | {errors(whole, splits, promised)} |", flush=True)


def drawn(options: argparse.Namespace) -> Iterator[tuple[str, int, int, tuple[Decisions, list[Decisions]]]]:
    """Each population with its splits."""
    for name in POPULATIONS:
        for rows in options.rows:
            for size in (1, 10):
                random = np.random.default_rng([POPULATIONS.index(name), rows, size])
                whole = draw(random, name, options.large, size)
                yield name, rows, size, (whole, [draw(random, name, rows, size) for _ in range(options.splits)])


def errors(whole: Decisions, splits: list[Decisions], promised: float) -> str:
    """Share of the splits that break the promise, mean error kept, mean share answered, share that answer nothing."""
    below = [abstention.error_threshold(one, promised, 0.95)[0] for one in splits]
    kept = [whole.confidences >= one for one in below if one != NEVER]
    wrong = [float(whole.wrong[one].mean()) for one in kept]
    answered = sum(float(one.mean()) for one in kept) / len(below)
    broken = np.sum(np.array(wrong) > promised) / len(below)
    shown = f"{np.mean(wrong):.3f}" if wrong else "none"
    return f"{broken:.3f} | {shown} | {answered:.2f} | {1 - len(kept) / len(below):.2f}"


if __name__ == "__main__":
    main()
