"""What a training measures on dev, by task kind, and whether a model has collapsed to one class."""

from __future__ import annotations

import math

import numpy as np

from retune.evaluation import ranking_metrics

LOWER = ("loss", "mae")
"""Dev metrics of which less is better."""


CONSTANT = ("auc_noise", "majority")
"""Of the dev rows, not of the model: kept for judging it, not for the history; so is what begins with `TRIVIAL`."""

TRIVIAL = "trivial_"
"""Begins the names of what an answer that looks at no row gets in a metric."""

LITTLE = 0.05
"""A model that goes less of the way from there to a perfect one has learned next to nothing."""


def of_the_model(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics without what is constant on the dev rows."""
    return {name: value for name, value in metrics.items() if name not in CONSTANT and not name.startswith(TRIVIAL)}


def of(kind: str, codes: np.ndarray, log_probs: np.ndarray, dimensions: np.ndarray | None = None) -> dict[str, float]:
    """Dev metrics of a kind with labels from codes [n], log-probabilities [n, labels] and (scoring) dimensions [n]."""
    if kind == "pair":
        return pair(codes, log_probs[:, 1] - log_probs[:, 0])
    return scoring(codes, log_probs, dimensions) if kind == "scoring" else classes(codes, log_probs)


def classes(codes: np.ndarray, log_probs: np.ndarray) -> dict[str, float]:
    """Dev metrics of a model of several classes from gold codes [n] and log-probabilities [n, K].

    `loss` is the mean negative log-likelihood in nats; `macro_f1` the mean F1 of the classes that occur; `largest` the
    share of the rows that get the most frequent answer, `majority` that of the most frequent label.
    `trivial_macro_f1` is that of one answer for all rows, or of a draw among the labels that occur.
    """
    rows, decisions = len(codes), log_probs.argmax(axis=1)
    width = log_probs.shape[1]
    gold, given = np.bincount(codes, minlength=width), np.bincount(decisions, minlength=width)
    right = np.bincount(codes[decisions == codes], minlength=width)
    occurs = gold > 0
    most = gold.max() / rows
    guess = max(2 * most / (1 + most), 1.0) / occurs.sum()  # the most frequent label always, or any at random
    return {
        "loss": float(-log_probs[np.arange(rows), codes].mean()),
        "macro_f1": float((2 * right[occurs] / (gold + given)[occurs]).mean()),
        "accuracy": float(right.sum() / rows),
        "largest": float(given.max() / rows),
        "majority": float(most),
        "trivial_macro_f1": float(guess),
    }


def scoring(codes: np.ndarray, log_probs: np.ndarray, dimensions: np.ndarray | None = None) -> dict[str, float]:
    """Dev metrics of a model of scores from gold codes [n] (0 is the lowest score) and log-probabilities [n, K].

    `loss` is the mean negative log-likelihood in nats; `mae` and `spearman` are `numbers` of the expected score.
    """
    expected = np.exp(log_probs) @ np.arange(log_probs.shape[1])
    return {"loss": float(-log_probs[np.arange(len(codes)), codes].mean()), **numbers(codes, expected, dimensions)}


def numbers(targets: np.ndarray, predicted: np.ndarray, dimensions: np.ndarray | None = None) -> dict[str, float]:
    """`mae` and `spearman` of predicted numbers [n]; ties share their mean rank.

    Spearman's correlation is taken within each of the `dimensions` [n] (None: there is one) and averaged, by its rows;
    one whose targets don't vary is left out, and predictions that don't vary have 0. `trivial_mae` is that of the best
    constant for each dimension, `trivial_spearman` what chance stays below in 39 of 40 cases (normal approximation).
    """
    names = np.zeros(len(targets)) if dimensions is None else dimensions
    found, rows, trivial = [], [], 0.0
    for name in np.unique(names):
        part = np.flatnonzero(names == name)
        trivial += float(np.abs(targets[part] - np.median(targets[part])).sum())
        value = ranking_metrics.spearman(targets[part].astype(np.float64), predicted[part].astype(np.float64))
        if not math.isnan(value):
            found.append(value)
            rows.append(len(part))
    spearman = float(np.average(found, weights=rows)) if found else 0.0
    return {
        "mae": float(np.abs(targets - predicted).mean()),
        "spearman": spearman,
        "trivial_mae": trivial / len(targets),
        "trivial_spearman": min(1.96 / math.sqrt(max(sum(rows) - len(rows), 1)), 1.0),
    }


def pair(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Dev metrics of a two-class model from its labels [n] in {0, 1} and logits [n] (log-odds of label 1).

    `loss` is the mean negative log-likelihood in nats; `f1` and `accuracy` cut at log-odds 0; `positives` is the share
    of rows that are cut to label 1; `auc_noise` the 95 % half-width of the AUC of a model that knows nothing, which has
    `trivial_auc`: with many rows little more than that is outside the noise, and still next to nothing.
    """
    labels, logits = labels.astype(np.int64), logits.astype(np.float64)
    decisions = (logits > 0).astype(np.int64)
    right = int((labels * decisions).sum())
    found = int(labels.sum() + decisions.sum())
    return {
        "loss": float(np.logaddexp(0.0, np.where(labels == 1, -logits, logits)).mean()),
        "auc": auc(labels, logits),
        "f1": 2 * right / found if found else 0.0,
        "accuracy": float((labels == decisions).mean()),
        "positives": float(decisions.mean()),
        "auc_noise": auc_noise(labels),
        "trivial_auc": 0.5,
    }


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve by ranks, ties counting half (Mann and Whitney); 0.5 where a class is missing."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_noise(labels: np.ndarray) -> float:
    """Half-width of the 95 % interval of the AUC around 0.5 if scores and labels were independent."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    return 1.96 * math.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def problem(metrics: dict[str, float], remedy: str) -> str | None:
    """A sentence about a model that tells rows hardly apart, ending with `remedy`, what its learner can be told."""
    return collapse(metrics, remedy) or next_to_nothing(metrics, remedy)


def next_to_nothing(metrics: dict[str, float], remedy: str) -> str | None:
    """A sentence about a model that is in no metric more than hardly better than an answer without a look at the row.

    None for any other: where most scores are the same, hardly a model has a lower MAE than that score, but it may well
    tell the rest apart.
    """
    measured = []
    for name, trivial in metrics.items():
        metric = name.removeprefix(TRIVIAL)
        way = (0.0 if metric in LOWER else 1.0) - trivial
        if metric != name and metric in metrics and way:
            if (metrics[metric] - trivial) / way >= LITTLE:
                return None
            measured.append((metric, trivial))
    if not measured:
        return None
    metric, trivial = measured[0]
    return (
        f"Learned next to nothing: its dev {metric} is {metrics[metric]:.3f}, that of an answer without a look "
        f"at the row {trivial:.3f}; try {remedy}."
    )


def collapse(metrics: dict[str, float], remedy: str) -> str | None:
    """A sentence that says how a model has collapsed and what to try, or None for a model that tells rows apart."""
    if "largest" in metrics:
        return _one_class(metrics, remedy)
    if "auc_noise" not in metrics:
        return None
    score, noise, positives = metrics["auc"], metrics["auc_noise"], metrics["positives"]
    blind = abs(score - 0.5) <= noise
    one = positives in (0.0, 1.0)
    if not blind and not one:
        return None
    said = []
    if one:
        said.append(f"every dev row gets label {int(positives)}")
    if blind:
        said.append(f"its dev AUC {score:.3f} is no better than chance (0.5 +- {noise:.3f})")
        helps = f"try {remedy}"
    else:
        helps = "its order of the rows is sound, so calibration can set a threshold; or try class_weights: balanced"
    return f"Collapsed to one class: {' and '.join(said)}; {helps}."


def _one_class(metrics: dict[str, float], remedy: str) -> str | None:
    if metrics["largest"] < 1.0 or metrics["majority"] == 1.0:
        return None
    return (
        f"Collapsed to one class: every dev row gets the same label (accuracy {metrics['accuracy']:.3f}, the most "
        f"frequent label has {metrics['majority']:.3f}); try {remedy}."
    )
