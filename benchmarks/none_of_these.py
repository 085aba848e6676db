"""How well texts of labels that a model never saw are told from those of labels that it knows: AUROC.

    python benchmarks/none_of_these.py                                     # the sample, under a minute
    python benchmarks/none_of_these.py --rows train.jsonl --test dev.jsonl # lines of {"text": ..., "label": ...}

A fifth of the labels is left out of the training of a linear model, five times; the test rows hold all labels.
`confidence` is the probability of the likeliest label, which `abstain: {none_of_these: 0.05}` reads: any learner has
it. `nearest` is what it was chosen over, the cosine with the most similar training row, of n-grams of characters.
`refused` are the shares below the threshold of the calibration rows that leaves out 0.05: of test rows of known labels
(false alarms), and of those of labels left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from retune.evaluation import abstention
from retune.sources.samples import intent

TURNS, LEFT_OUT, FALSE_ALARMS = 5, 0.2, 0.05


def main() -> None:
    """Leave labels out, train, print a line for each turn and their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, help="JSON lines to train on; default: the generated sample of intents")
    parser.add_argument("--test", type=Path, help="JSON lines to measure; for --rows")
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    rows, test = (read(options.rows), read(options.test)) if options.rows else sample()
    found = [turn(rows, test, number) for number in range(options.turns)]
    print("| turn | confidence | nearest | refused, known | refused, left out |\n|--:|--:|--:|--:|--:|")
    for name, cells in [*enumerate(found, 1), ("mean", np.mean(found, axis=0))]:
        print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")


def read(file: Path) -> pl.DataFrame:
    """Columns text, label."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return pl.DataFrame(lines, schema={"text": pl.String, "label": pl.String})


def sample() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The project's own sample of intents, and a quarter of its families of texts as test rows."""
    table = intent.generate(0, 2400).select("text", "family", label="intent")
    test = table["family"].is_in(table["family"].unique().sort().gather_every(4).to_list())
    return table.filter(~test), table.filter(test)


def turn(rows: pl.DataFrame, test: pl.DataFrame, number: int) -> tuple[float, float, float, float]:
    """AUROC of both scores, and the shares refused of known labels and of those left out."""
    random = np.random.default_rng(number)
    labels = rows["label"].unique().sort().to_list()
    out = random.choice(labels, max(1, round(LEFT_OUT * len(labels))), replace=False).tolist()
    known = rows.filter(~pl.col("label").is_in(out))
    held = random.random(len(known)) < 0.15
    train, calibration = known.filter(pl.Series(~held)), known.filter(pl.Series(held))
    counts = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    seen = counts.fit_transform(train["text"])
    model = LogisticRegression(C=10.0, max_iter=500).fit(seen, train["label"])
    asked = counts.transform(test["text"])
    sure = model.predict_proba(asked).max(axis=1)
    nearest = np.array((asked @ seen.T).max(axis=1).todense()).ravel()
    is_known = ~test["label"].is_in(out).to_numpy()
    kept = model.predict_proba(counts.transform(calibration["text"])).max(axis=1)
    below = abstention.coverage_threshold(kept, 1 - FALSE_ALARMS, len(calibration))
    refused = sure < below
    return (
        float(roc_auc_score(is_known, sure)),
        float(roc_auc_score(is_known, nearest)),
        float(refused[is_known].mean()),
        float(refused[~is_known].mean()),
    )


if __name__ == "__main__":
    main()
