"""The tables that benchmarks/llm.py prints."""

from __future__ import annotations

import statistics
from typing import Any

from scipy import stats

METHODS = {
    "labels": "Retune's label scoring",
    "generate": "generate and parse",
    "apart": "each label apart",
}


def training_table(results: list[dict[str, Any]]) -> str:
    """Results of `train` as a Markdown table: of seconds and shares the median over the seeds, of losses the mean.

    The ratio is of the medians of the step seconds, the peak the highest, the range of a difference of 95 %.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        runs.setdefault(one["tool"], []).append(one)
    lines = [
        "| tool | s per epoch (steps) | whole, s | tokens/s | peak GiB | step-1 loss | final dev loss "
        "| over Retune's | Retune is |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for tool, mine in runs.items():
        ratio = over = ""
        seconds, whole, speed = (median(mine, name) for name in ("step_seconds", "whole_seconds", "tokens_per_second"))
        if "retune" in runs and tool != "retune":
            ratio = f"{seconds / median(runs['retune'], 'step_seconds'):.1f}x faster"
            over = difference(mine, runs["retune"])
        first, last = (statistics.mean(one[name] for one in mine) for name in ("first_loss", "dev_loss"))
        peak = max(one["peak_gib"] for one in mine)
        lines.append(
            f"| {tool} | {seconds:.1f} | {whole:.1f} | {speed:.0f} | {peak:.2f} | {first:.4f} | {last:.4f} "
            f"| {over} | {ratio} |"
        )
    if own := runs.get("retune"):
        share = statistics.median(one["limit_seconds"] / one["step_seconds"] for one in own)
        lines += [
            "",
            f"Retune: {median(own, 'computed_tokens'):,.0f} tokens computed; their matrix products alone would take "
            f"{median(own, 'limit_seconds'):.1f} s at the {median(own, 'gigaflops'):.0f} GFLOP/s of this run, "
            f"{share:.0%} of the time that its steps took.",
        ]
    if len(seeds := list(dict.fromkeys(one["seed"] for one in results))) > 1:
        lines += ["", f"Seconds per epoch with the seeds {', '.join(map(str, seeds))}:"]
        for tool, mine in runs.items():
            lines.append(f"{tool} " + ", ".join(f"{one['step_seconds']:.1f}" for one in mine))
    versions = "; ".join(dict.fromkeys(one["version"] for one in results))
    return "\n".join([*lines, "", versions, ""])


def median(runs: list[dict[str, Any]], name: str) -> float:
    """Of one measurement over the runs of a tool."""
    return statistics.median(one[name] for one in runs)


def difference(ones: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """Mean difference of two tools' dev losses with its 95 % interval (Student's t).

    With several seeds they are what varies, in adapter and rows; with one it is the rows, which both tools share.
    """
    by_seed = [a["dev_loss"] - b["dev_loss"] for a, b in zip(ones, others, strict=True)]
    found = by_seed
    if len(by_seed) == 1:
        sums, other = ones[0]["dev_sums"], others[0]["dev_sums"]
        per_row = sum(sums) / ones[0]["dev_loss"] / len(sums)  # tokens
        found = [(a - b) / per_row for a, b in zip(sums, other, strict=True)]
    half = stats.t.ppf(0.975, len(found) - 1) * statistics.stdev(found) / len(found) ** 0.5
    return f"{statistics.mean(by_seed):+.4f} ± {half:.4f}"


def evaluation_table(results: list[dict[str, Any]]) -> str:
    """Results of `evaluate` as a Markdown table; ratio and agreement are to the first method."""
    lines = [
        "| classification | seconds | accuracy | agreement | unparsed | peak GiB | Retune is |",
        "|---|---|---|---|---|---|---|",
    ]
    most = max(one["rows"] for one in results)
    for one in results:
        ratio = f"{one['seconds'] / results[0]['seconds']:.1f}x faster" if one is not results[0] else ""
        scaled = f" (from {one['rows']} rows)" if one["rows"] < most else ""
        lines.append(
            f"| {METHODS[one['method']]} | {one['seconds']:.1f}{scaled} | {one['accuracy']:.3f} "
            f"| {one['agreement']:.3f} | {one['unparsed']:.1%} | {one['peak_gib']:.2f} | {ratio} |"
        )
    return "\n".join([*lines, ""])
