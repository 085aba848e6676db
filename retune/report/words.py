"""Numbers and verdicts as a reader sees them, the same in the page and in the summary."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

MINUS, DASH, SPACE = "\u2212", "\u2013", "\u00a0"


class Metric(NamedTuple):
    """How a metric is shown: its name, what it is, and whether more of it is better."""

    name: str
    meaning: str
    more_is_better: bool = True

    @property
    def extreme(self) -> str:
        """What its best value is among others."""
        return "highest" if self.more_is_better else "lowest"


METRICS = {
    "f1": Metric("F1", "harmonic mean of precision and recall of the positive class, at the model's threshold"),
    "accuracy": Metric("Accuracy", "share of right decisions at the model's threshold"),
    "macro_f1": Metric("Macro-F1", "mean of the F1 of every class"),
    "weighted_f1": Metric("Weighted F1", "mean of the F1 of every class, weighted by its rows"),
    "top3": Metric("Top 3", "share of rows whose label is among the three likeliest"),
    "top5": Metric("Top 5", "share of rows whose label is among the five likeliest"),
    "head_f1": Metric("Head F1", "macro-F1 of the third of the classes with the most training rows"),
    "middle_f1": Metric("Middle F1", "macro-F1 of the middle third of the classes by training rows"),
    "tail_f1": Metric("Tail F1", "macro-F1 of the third of the classes with the fewest training rows"),
    "precision": Metric("Precision", "share of true positives among the rows called positive"),
    "recall": Metric("Recall", "share of the positives that were found"),
    "auc": Metric("AUC", "chance that a positive row scores above a negative one; needs no threshold"),
    "average_precision": Metric("Avg. precision", "area under the precision-recall curve"),
    "ndcg@10": Metric("NDCG@10", "gain of the first ten documents, discounted by rank, over that of the best order"),
    "ndcg@5": Metric("NDCG@5", "the same of the first five documents"),
    "ndcg@1": Metric("NDCG@1", "the same of the first document"),
    "mrr@10": Metric("MRR@10", "mean of one over the rank of the first relevant document among the first ten"),
    "map": Metric("MAP", "mean average precision: precision at the rank of each relevant document"),
    "recall@3": Metric("Recall@3", "share of a query's relevant documents among its first three"),
    "ndcg": Metric("NDCG@10", "gain of the first ten documents, discounted by rank, over that of the best order"),
    "spearman": Metric("Spearman", "rank correlation of the scores with the gold ones (ranking: mean over queries)"),
    "mae": Metric("MAE", "mean absolute error of the estimated score", more_is_better=False),
    "rmse": Metric("RMSE", "root of the mean squared error of the estimated score", more_is_better=False),
    "pearson": Metric("Pearson", "linear correlation of the estimated scores with the gold ones"),
    "bin_accuracy": Metric("Bin accuracy", "share of rows whose rounded score lies in the bin of the gold one"),
    "kappa": Metric("Quadratic kappa", "agreement of the rounded scores beyond chance, with squared distances"),
    "exact": Metric("Exact", "share of rows whose rounded score is the gold one"),
    "within_1": Metric("Within 1", "share of rows whose rounded score is at most 1 off"),
    "coherence": Metric("Coherence", "sentences that are linked and related, and not repeated"),
    "terms": Metric("Terms", "different terms of the field, of 5"),
    "sufficiency": Metric("Sufficiency", "evidence, inference, weighing and conclusion"),
    "specificity": Metric("Specificity", "figures of the document and examples, of 4"),
    "unsupported": Metric("Unsupported", "share of the figures that stand in no document", more_is_better=False),
    "pooled_spearman": Metric(
        "Pooled Spearman", "rank correlation of score and relevance over all judged pairs, whatever their query"
    ),
    "mse": Metric("MSE", "weighted mean squared error of the estimated relevance", more_is_better=False),
    "brier": Metric("Brier", "mean squared error of the calibrated probability", more_is_better=False),
    "calibration_error": Metric(
        "Calibration error", "gap between stated and true frequency, less what chance makes of it", more_is_better=False
    ),
}
SAME = "no difference shown"


def metric(key: str) -> Metric:
    """How `key` is shown; a metric that is not known here appears under its own name."""
    return METRICS.get(key, Metric(key, key))


def number(value: float | None, digits: int = 3) -> str:
    """`0.712`; a dash for what is missing or not a number."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """`+0.081` or `−0.081`, with a real minus sign."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:+.{digits}f}".replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """`0.661–0.764`."""
    return f"{number(low, digits)}{DASH}{number(high, digits)}"


def over_seeds(found: dict[str, Any]) -> str:
    """`± 0.012, 0.801–0.823`: standard deviation, least and most over the seeds; nothing of a single training."""
    if found.get("sd") is None:
        return ""
    return f"±{SPACE}{number(found['sd'])}, {interval(found['least'], found['most'])}"


def signed_interval(low: float | None, high: float | None) -> str:
    """`[+0.032, +0.130]`."""
    return f"[{signed(low)}, {signed(high)}]"


def p_value(p: float | None, at_most: bool = False) -> str:
    """`0.004`, or `< 0.001`; `at most 0.004` where the test can't tell smaller ones apart."""
    if p is None or not math.isfinite(p):
        return DASH
    if p < 0.001:
        return f"<{SPACE}0.001"
    return f"at most{SPACE}{p:.3f}" if at_most else f"{p:.3f}"


def equals_p(p: float | None, at_most: bool = False) -> str:
    """`p = 0.004`, `p at most 0.004` or `p < 0.001`, kept on one line."""
    shown = p_value(p, at_most)
    return f"p{SPACE}={SPACE}{shown}" if shown[0].isdigit() else f"p{SPACE}{shown}"


def covered(counts: dict[str, Any]) -> str:
    """` 51 of 4,924 queries counted;` for the tasks of which metrics count some units only, else nothing."""
    for key, counted in counts.items():
        if key.endswith("_counted"):
            unit = key.removesuffix("_counted")
            return f" {count(counted)} of {count(counts[unit])} {unit} counted;"
    return ""


def count(value: float | None) -> str:
    """`12,345`."""
    return DASH if value is None else f"{round(value):,}"


def share(part: float | None, whole: float) -> str:
    """`31.2 %`."""
    return DASH if part is None or not whole else f"{100 * part / whole:.1f}{SPACE}%"


def quantity(value: float | None) -> str:
    """`21.3 M` parameters."""
    if value is None:
        return DASH
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{SPACE}{unit}"
    return f"{value:.0f}"


def remarks(counts: dict[str, Any]) -> list[str]:
    """What else is known of a model's test rows: how its plain generation fared, what an endpoint took for them."""
    found = []
    if rows := counts.get("generated_rows"):
        name = "MAE" if "generated_mae" in counts else "accuracy"
        unparsed, said, scored = (
            counts[key] for key in ("generated_unparsed", f"generated_{name.lower()}", f"scored_{name.lower()}")
        )
        found.append(
            f"Generating the answers of {count(rows)} test rows instead of scoring the labels leaves {count(unparsed)} "
            f"({share(unparsed, rows)}) unparsed; {name} {number(said)} instead of {number(scored)}."
        )
    if "cost" in counts:
        read, written, cost, rows = (counts[key] for key in ("prompt_tokens", "completion_tokens", "cost", "rows"))
        found.append(
            f"The endpoint took {count(read)} + {count(written)} tokens for the test rows; cost {number(cost, 4)}, "
            f"{number(1000 * cost / rows, 4)} for 1,000 rows."
        )
    return found


def verdict(difference: float | None, p: float | None, alpha: float, more_is_better: bool = True) -> str:
    """`better`, `worse` or `no difference shown`: what a difference says about the first of two models."""
    if difference is None or p is None or p >= alpha or difference == 0:
        return SAME
    return "better" if (difference > 0) == more_is_better else "worse"


def and_(words: list[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def has_chinese(text: str) -> bool:
    """Whether a text holds Han characters, so that the page asks for Chinese glyphs rather than Japanese ones."""
    return re.search(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]", text) is not None


def shorten(text: str, limit: int = 400) -> str:
    """A text of at most `limit` characters; what is cut is counted."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def rows_of(section: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested section as (dotted key, value) in order, for a table of parameters."""
    rows: list[tuple[str, str]] = []
    for key, value in section.items():
        if isinstance(value, dict) and value:
            rows += rows_of(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if value is None or value == {}:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
