"""The tables that benchmarks/llm.py prints."""

from __future__ import annotations

import statistics
from typing import Any

METHODS = {
    "labels": "Retune's label scoring",
    "generate": "generate and parse",
    "apart": "each label apart",
}


def training_table(results: list[dict[str, Any]]) -> str:
    """Results of `train` as a Markdown table; the ratio is of the step seconds, the range of a loss of 95 %."""
    own = next((one for one in results if one["tool"] == "retune"), None)
    lines = [
        "| tool | s per epoch (steps) | whole, s | tokens/s | peak GiB | step-1 loss | final dev loss "
        "| over Retune's | Retune is |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        ratio = over = ""
        if own and one is not own:
            ratio = f"{one['step_seconds'] / own['step_seconds']:.1f}x faster"
            over = difference(one, own)
        lines.append(
            f"| {one['tool']} | {one['step_seconds']:.1f} | {one['whole_seconds']:.1f} "
            f"| {one['tokens_per_second']:.0f} | {one['peak_gib']:.2f} | {one['first_loss']:.4f} "
            f"| {one['dev_loss']:.4f} | {over} | {ratio} |"
        )
    lines += [""] + [
        f"Retune: {one['computed_tokens']:,} tokens computed; their matrix products alone would take "
        f"{one['limit_seconds']:.1f} s at the {one['gigaflops']:.0f} GFLOP/s of this run, "
        f"{one['limit_seconds'] / one['step_seconds']:.0%} of the time that its steps took."
        for one in results
        if "limit_seconds" in one
    ]
    versions = "; ".join(dict.fromkeys(one["version"] for one in results))
    return "\n".join([*lines, "", versions, ""])


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Difference of two dev losses with its 95 % interval, from the differences of the same rows."""
    mean = one["dev_loss"] - other["dev_loss"]
    pairs = [a - b for a, b in zip(one["dev_sums"], other["dev_sums"], strict=True)]
    tokens = sum(one["dev_sums"]) / one["dev_loss"] / len(pairs)
    half = 1.96 * statistics.stdev(pairs) / len(pairs) ** 0.5 / tokens
    return f"{mean:+.4f} ± {half:.4f}"


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
