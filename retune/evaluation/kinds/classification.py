"""Measures of kind `classification`: the likeliest label, its calibrated probability, and what is mistaken for what.

An unparsed answer (null probabilities) is a wrong one, as sure of itself as can be: it decides no label, its confidence
is 1, and its probabilities lie on another label than the gold one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels as names
from retune.evaluation import curves
from retune.evaluation.calibration import COLDEST, HOTTEST, least, unfitted
from retune.evaluation.multiclass_metrics import METRICS, Answers, ece, measure, thirds
from retune.evaluation.weighted import Floats, Integers

if TYPE_CHECKING:
    from collections.abc import Collection

    from retune.params import Params

__all__ = ["METRICS", "measure"]

CENTRED = ("ece",)
SHOWN = 5  # labels listed beside an error


def columns(spec: Params, given: Collection[str] = ()) -> tuple[str, ...]:
    """The probability of every label."""
    return names.names(len(spec.labels))


def calibrate(joined: pl.DataFrame, spec: Params) -> dict[str, Any]:
    """Fit the temperature on the rows that the model answered; returns it, rows, before and after, and messages.

    Where it answered none, the temperature is 1, and a message says so.
    """
    seen = joined.filter("parsed")
    if seen.is_empty():
        return unfitted(0, len(joined))
    logs, gold = log_probs(seen, len(spec.labels)), names.codes(seen["label"], spec.labels)
    temperature, messages = fit_temperature(logs, gold) if spec.temperature else 1.0, []
    if temperature in (COLDEST, HOTTEST):
        why = "no wrong answer holds it back" if temperature == COLDEST else "the probabilities say little"
        messages.append(f"The temperature stops at its limit {temperature:g}: {why}.")
    return {
        "temperature": temperature,
        "rows": len(seen),
        "before": _quality(logs, gold),
        "after": _quality(cooled(logs, temperature), gold),
        "messages": messages,
    }


def _quality(logs: Floats, gold: Integers) -> dict[str, float]:
    """Mean negative log-likelihood in nats, calibration error and accuracy."""
    ones, best = np.ones(len(gold)), logs.argmax(1)
    right = (best == gold).astype(np.int64)
    return {
        "nll": float(-logs[np.arange(len(gold)), gold].mean()),
        "ece": float(ece(right, np.exp(logs.max(1)), ones)),
        "accuracy": float(right.mean()),
    }


def log_probs(joined: pl.DataFrame, count: int) -> Floats:
    """Log-probabilities [n, K] of `count` labels in joined rows, at least log 1e-15; an unparsed row is uniform."""
    table = joined.select(pl.col(names.names(count)).fill_null(1 / count)).to_numpy().astype(np.float64)
    return np.log(np.maximum(table, 1e-15))


def cooled(logs: Floats, temperature: float) -> Floats:
    """Log-probabilities at a temperature, normalised again [n, K]."""
    return names.log_softmax(logs / temperature)


def fit_temperature(logs: Floats, gold: Integers) -> float:
    """Find the temperature of least negative log-likelihood (Guo et al. 2017), within [COLDEST, HOTTEST]."""
    rows = np.arange(len(gold))

    def too_cold(temperature: float) -> bool:
        probabilities = np.exp(cooled(logs, temperature))
        return float(((probabilities * logs).sum(1) - logs[rows, gold]).sum()) > 0

    return least(too_cold)


def answers(joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> Answers:
    """Decisions, ranks and confidences of joined rows [n]; equal probabilities rank by the order of labels."""
    logs = cooled(log_probs(joined, len(spec.labels)), fitted["temperature"])
    gold, seen = names.codes(joined["label"], spec.labels), joined["parsed"].to_numpy()
    trained = splits["splits"]["train"]["targets"]
    return answered(logs, gold, seen, thirds([trained.get(label, 0) for label in spec.labels]))


def answered(logs: Floats, gold: Integers, seen: np.ndarray, third_of: Integers) -> Answers:
    """The answers of log-probabilities [n, K] to gold classes [n]; `seen` [n] is false where there is no answer."""
    rows, count = np.arange(len(gold)), logs.shape[1]
    order = np.argsort(-logs, axis=1, kind="stable")
    ranks = (order == gold[:, None]).argmax(1)
    probabilities = np.exp(logs)
    gaps = probabilities.copy()
    gaps[rows, gold] -= 1.0
    return Answers(
        gold,
        np.where(seen, order[:, 0], -1),
        np.where(seen, ranks, count),
        np.where(seen, probabilities.max(1), 1.0),
        np.where(seen, (gaps**2).sum(1), 2.0),
        third_of,
    )


def order(given: Answers) -> Integers:
    """By gold class: its rows then stand together."""
    return np.argsort(given.labels, kind="stable")


def ignorant(given: Answers) -> Answers:
    """Answer every row with the most frequent label, and with the frequencies as probabilities."""
    frequencies = np.bincount(given.labels, minlength=len(given.thirds)) / len(given.labels)
    logs = np.log(np.maximum(np.tile(frequencies, (len(given.labels), 1)), 1e-15))
    return answered(logs, given.labels, np.ones(len(given.labels), dtype=bool), given.thirds)


def wins(a: Answers, b: Answers) -> tuple[int, int, float]:
    """Rows that only a decides right, rows that only b does, share of equal decisions."""
    a_right, b_right = a.decisions == a.labels, b.decisions == b.labels
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    return only_a, only_b, float(np.mean(a.decisions == b.decisions))


def write(folder: Path, joined: pl.DataFrame, fitted: dict[str, Any], spec: Params, splits: dict[str, Any]) -> None:
    """Write the classes, the confusion matrix (table and picture), every error, every failed answer, and the curves."""
    given = answers(joined, fitted, spec, splits)
    raw = answers(joined, fitted | {"temperature": 1.0}, spec, splits)
    plots, details = folder / "plots", folder / "details"
    by_class = per_class(given, spec.labels, splits)
    by_class.write_csv(details / "classes.csv")
    confused = confusion(given, spec.labels)
    confused.write_csv(details / "confusion.csv")
    (details / "confusion_matrix.svg").write_text(picture(confused, spec.labels), encoding="utf-8")
    wrong = errors(joined, given, cooled(log_probs(joined, len(spec.labels)), fitted["temperature"]), spec)
    wrong.write_ndjson(details / "error_predictions.jsonl")
    wrong.head(spec.errors).write_parquet(details / "errors.parquet")
    unread = joined.filter(~pl.col("parsed")).select("id", "text", pl.col("label").cast(pl.String))
    unread.write_ndjson(details / "failed_predictions.jsonl")
    for table, target in ((given, plots / "reliability.csv"), (raw, details / "reliability_uncalibrated.csv")):
        right = (table.labels == table.decisions).astype(np.int64)
        curves.reliability(right, table.confidences).write_csv(target)
    ranks = np.array([float((given.ranks < k).mean()) for k in range(1, len(spec.labels) + 1)])
    pl.DataFrame({"x": np.arange(1, len(ranks) + 1), "y": ranks}).head(10).write_csv(plots / "top_k_accuracy.csv")
    ordered = by_class.sort("train", descending=True, maintain_order=True)
    ordered.select(pl.int_range(1, pl.len() + 1).alias("x"), y="f1").write_csv(plots / "f1_by_class_size.csv")


def per_class(given: Answers, labels: list[str], splits: dict[str, Any]) -> pl.DataFrame:
    """A row for each label: label, third, train (rows), rows (test), predicted, precision, recall, f1.

    Precision is 0 where the label is never decided; recall and F1 are null where no test row has it.
    """
    count = len(labels)
    right = np.bincount(given.labels[given.labels == given.decisions], minlength=count)
    rows, decided = (np.bincount(codes[codes >= 0], minlength=count) for codes in (given.labels, given.decisions))
    trained = splits["splits"]["train"]["targets"]
    return pl.DataFrame(
        {
            "label": labels,
            "third": [("head", "middle", "tail")[third] for third in given.thirds],
            "train": [trained.get(label, 0) for label in labels],
            "rows": rows,
            "predicted": decided,
            "precision": right / np.maximum(decided, 1),
            "recall": [r / n if n else None for r, n in zip(right.tolist(), rows.tolist(), strict=True)],
            "f1": [
                2 * r / (n + d) if n else None
                for r, n, d in zip(right.tolist(), rows.tolist(), decided.tolist(), strict=True)
            ],
        }
    )


def confusion(given: Answers, labels: list[str]) -> pl.DataFrame:
    """The cells of the confusion matrix with rows: label, predicted (null: no answer), rows, share of the label."""
    counts = pl.DataFrame({"gold": given.labels, "decided": given.decisions}).group_by("gold", "decided").len("rows")
    counts = counts.sort("gold", "decided")
    return counts.select(
        label=pl.Series([labels[code] for code in counts["gold"]], dtype=pl.String),
        predicted=pl.Series([labels[code] if code >= 0 else None for code in counts["decided"]], dtype=pl.String),
        rows=pl.col("rows"),
        share=pl.col("rows") / pl.col("rows").sum().over("gold"),
    )


def errors(joined: pl.DataFrame, given: Answers, logs: Floats, spec: Params) -> pl.DataFrame:
    """Every wrong decision, the surest first: id, text, label, predicted, probability, probability_label, likeliest.

    `likeliest` names the five likeliest labels. Rows without an answer are not among them.
    """
    wrong = np.flatnonzero((given.decisions != given.labels) & (given.decisions >= 0))
    best = np.argsort(-logs[wrong], axis=1, kind="stable")[:, :SHOWN]
    table = joined[wrong].select("id", "text", pl.col("label").cast(pl.String))
    return table.with_columns(
        predicted=pl.Series([spec.labels[code] for code in given.decisions[wrong]], dtype=pl.String),
        probability=pl.Series(given.confidences[wrong], dtype=pl.Float64),
        probability_label=pl.Series(np.exp(logs[wrong, given.labels[wrong]]), dtype=pl.Float64),
        likeliest=pl.Series(["; ".join(spec.labels[code] for code in row) for row in best], dtype=pl.String),
    ).sort("probability", "id", descending=[True, False])


def picture(confused: pl.DataFrame, labels: list[str]) -> str:
    """The confusion matrix as an SVG document of its own."""
    from retune.evaluation import confusion_svg  # draws without altair, but only this file needs it

    return confusion_svg.document(confused, labels)


def disagreements(joined: dict[str, pl.DataFrame], models: dict[str, Answers]) -> pl.DataFrame:
    """List the rows that not all models decide alike, first those on which most models differ from one another.

    Columns: id, text, label, then for each model `MODEL.decision` (the code of the label, null where unparsed) and
    `MODEL.confidence`. Sorted by the number of different decisions, ties by id.
    """
    decisions = np.stack([given.decisions for given in models.values()])
    different = np.array([len(set(column)) for column in decisions.T.tolist()], dtype=np.int64)
    table = next(iter(joined.values())).select("id", "text", pl.col("label").cast(pl.String))
    shown = []
    for name, given in models.items():
        for what, values in (("decision", pl.Series(given.decisions)), ("confidence", pl.Series(given.confidences))):
            shown.append(pl.when(joined[name]["parsed"]).then(values).alias(f"{name}.{what}"))
    return (
        table.with_columns(shown)
        .with_columns(_different=pl.Series(different))
        .filter(pl.col("_different") > 1)
        .sort("_different", "id", descending=[True, False])
        .drop("_different")
    )
