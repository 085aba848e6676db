"""How many of the 50 most doubtful training rows have a wrong label, where 5 % of the labels were flipped.

    python -m benchmarks.wrong_labels                                   # similarity and intent of the built project
    python -m benchmarks.wrong_labels intent --seeds 5 --share 0.05     # as in docs/wrong-labels.md

Labels of the training rows of data/splits/TASK are flipped to another one, by a seed, and ranked as stage `explore`
does. `by rows` is the same with every row a group of its own, so that a row is judged by its siblings too. Chance finds
the share that was flipped.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

from retune import params
from retune.doubts import doubtful_rows
from retune.params import Params

FIRST = 50


def main() -> None:
    """Flip, rank, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["similarity", "intent"], help="built tasks")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels that are flipped")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"| task | rows | labels | agreement | precision at {FIRST} | by rows | chance | flipped | expected | seconds |"
    )
    print("|:--|--:|--:|--:|:--|:--|--:|--:|--:|--:|")
    known = params.load().tasks
    for task in options.tasks:
        spec = known[task].exploration
        rows = pl.read_parquet(f"data/splits/{task}/train.parquet").filter(pl.col("origin") == "original")
        start = time.process_time()
        found = [judged(rows, spec, options.share, seed) for seed in range(options.seeds)]
        seconds = (time.process_time() - start) / options.seeds
        alone = [judged(rows.with_columns(group="id"), spec, options.share, seed) for seed in range(options.seeds)]
        means = np.mean(found, axis=0)
        cells = [" ".join(f"{one[0]:.2f}" for one in part) for part in (found, alone)]
        count = round(options.share * len(rows))
        print(
            f"| {task} | {len(rows):,} | {len(spec.labels)} | {means[1]:.2f} | {cells[0]} | {cells[1]} | "
            f"{options.share:.2f} | {count} | {means[2]:.0f} | {seconds:.1f} |"
        )


def judged(rows: pl.DataFrame, spec: Params, share: float, seed: int) -> tuple[float, float, float]:
    """Precision at `FIRST`, agreement of the models with the labels, and the expected number of wrong ones."""
    random = np.random.default_rng(seed)
    bad = random.choice(len(rows), round(share * len(rows)), replace=False)
    labels = rows["label"].cast(pl.String).to_list()
    for row in bad:
        labels[row] = str(random.choice([label for label in spec.labels if label != labels[row]]))
    noisy = rows.with_columns(label=pl.Series(labels, dtype=pl.String))
    found = doubtful_rows.find(noisy.lazy(), spec, Path("models/bases"))
    assert found is not None
    flipped = set(rows["id"].gather(bad))
    hits = sum(one in flipped for one in found.table["id"].head(FIRST))
    return hits / FIRST, found.summary["agreement"], found.summary["expected"]


if __name__ == "__main__":
    main()
