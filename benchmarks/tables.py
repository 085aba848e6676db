"""The tables that benchmarks/llm.py prints."""

from __future__ import annotations

from typing import Any

METHODS = {
    "labels": "Retune's label scoring",
    "generate": "generate and parse",
    "apart": "each label apart",
}


def training_table(results: list[dict[str, Any]]) -> str:
    """Results of `train` as a Markdown table; the ratio is of the step seconds."""
    own = next((one["step_seconds"] for one in results if one["tool"] == "retune"), None)
    lines = [
        "| tool | s per epoch (steps) | whole, s | tokens/s | peak GiB | step-1 loss | final dev loss | Retune is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        ratio = f"{one['step_seconds'] / own:.1f}x faster" if own and one["tool"] != "retune" else ""
        lines.append(
            f"| {one['tool']} | {one['step_seconds']:.1f} | {one['whole_seconds']:.1f} "
            f"| {one['tokens_per_second']:.0f} | {one['peak_gib']:.2f} | {one['first_loss']:.4f} "
            f"| {one['dev_loss']:.4f} | {ratio} |"
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
