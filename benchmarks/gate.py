"""How often `retune gate` says "better" or "worse" of two revisions of a model that are equally good.

    python benchmarks/gate.py                                      # a look, about a minute
    python benchmarks/gate.py --pairs 200 --groups 26 60           # the table of docs/statistics.md

Test sets are drawn from the populations of benchmarks/intervals.py, where both revisions are equally good, so that each
verdict but "no evidence either way" is a false alarm; 0.05 of the pairs are to have one, and half of these fail a pull
request. `changed` is the share of the groups that the later revision answers anew: of the others it says what the
earlier one said. In a gate of ten such models, in the last column, p is corrected for ten.
"""

from __future__ import annotations

import argparse
from typing import Any

import intervals
import numpy as np

from retune.evaluation import gate
from retune.evaluation.gate import Change
from retune.params import Params
from retune.report.words import metric as shown

METRICS = {"ten labels": "macro_f1", "scores": "mae", "pairs": "f1", "rankings": "ndcg@10"}
"""Population -> the primary metric of its kind, which decides unless params.yaml names another."""

TOGETHER = 10


def main() -> None:
    """Draw, judge, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of revisions of each population and size")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--groups", type=int, nargs="+", default=[12, 26, 60])
    parser.add_argument("--populations", nargs="+", default=list(METRICS), choices=list(METRICS))
    parser.add_argument("--changed", type=float, nargs="+", default=[1.0, 0.3])
    parser.add_argument(
        "--together", action="store_true", help="also gates of ten models, which take ten times as long"
    )
    options = parser.parse_args()
    print(f"Each cell: {', '.join(map(str, options.groups))} groups; {options.pairs} pairs.\n")
    print("| population | metric | changed | false alarms | of these worse |" + " any of ten |" * options.together)
    print("|:--|:--|--:|:-:|:-:|" + ":-:|" * options.together)
    for name in options.populations:
        metric = METRICS[name]
        for changed in options.changed:
            cells: list[list[str]] = []
            for groups in options.groups:
                found = [judge(name, groups, changed, number, options.resamples) for number in range(options.pairs)]
                row = [share([one.verdict in ("better", "worse") for one in found])]
                row.append(share([one.regression for one in found]))
                if options.together:
                    row.append(share([any_of_ten(name, groups, changed, number) for number in range(options.pairs)]))
                cells.append(row)
            text = " | ".join(" ".join(of) for of in zip(*cells, strict=True))
            print(f"| {name} | {metric} | {changed:g} | {text} |", flush=True)


def judge(name: str, groups: int, changed: float, number: int, times: int) -> Change:
    """The gate's verdict on one pair of equally good revisions."""
    draw, measure, _ = intervals.POPULATIONS[name]
    random = np.random.default_rng([number + 1, groups, round(100 * changed)])
    before, after, of = draw(random, groups)
    after = mixed(before, after, (random.random(groups) >= changed)[of])
    spec = Params(bootstrap=times, confidence=intervals.CONFIDENCE, seed=number)
    metric = METRICS[name]
    better = shown(metric).more_is_better
    (found,) = gate.corrected([gate.change(measure, metric, (before, after), of, spec, more_is_better=better)])
    return found


def any_of_ten(name: str, groups: int, changed: float, number: int) -> bool:
    """Whether a gate of ten models raises any false alarm."""
    times = gate.times_for(TOGETHER, 200, intervals.CONFIDENCE)
    found = [judge(name, groups, changed, 1000 * (number + 1) + model, times) for model in range(TOGETHER)]
    return any(one.verdict in ("better", "worse") for one in gate.corrected(found))


def mixed(before: Any, after: Any, kept: np.ndarray) -> Any:
    """The answers of `after`, but those of `before` to the rows `kept` [n], which are whole groups."""

    def rows(old: Any, new: Any) -> Any:
        if not isinstance(old, np.ndarray) or len(old) != len(kept):
            return new
        return np.where(kept.reshape(-1, *[1] * (old.ndim - 1)), old, new)

    return type(after)(*(rows(old, new) for old, new in zip(before, after, strict=True)))


def share(found: list[bool]) -> str:
    """`.05`."""
    return f"{np.mean(found):.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
