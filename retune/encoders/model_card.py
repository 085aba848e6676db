"""The README.md of a model folder: what the model is, what it was trained on, how, how well, and the licences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.record import Training

LIBRARY = "sentence-transformers"


def write(spec: Params, source: dict[str, Any], data: str, training: Training, use: list[str], out: Path) -> None:
    """Write README.md into `out`.

    `source` is the base's SOURCE.json, `data` says in a sentence what the rows were, `use` are lines of Python.
    """
    tuned = spec.training.epochs > 0
    select = spec.training.select
    best = max(
        (record for record in training.history if f"eval_{select}" in record),
        key=lambda record: record[f"eval_{select}"] * (-1 if select == "loss" else 1),
        default={},
    )
    metrics = [f"| {name[5:]} | {value:.4f} |" for name, value in sorted(best.items()) if name.startswith("eval_")]
    sections = [section for section in spec if isinstance(spec[section], dict) and section not in ("data", "hardware")]
    parameters = [f"| {section}.{key} | {value} |" for section in sections for key, value in spec[section].items()]
    task = "sentence-similarity" if spec.learner == "embedder" else "text-ranking"
    lines = [
        "---",
        f"library_name: {LIBRARY}",
        f"pipeline_tag: {task}",
        "license: other",
        f"license_name: {json.dumps(source['license'], ensure_ascii=False)}",
        f"tags: [{LIBRARY}, {spec.learner}, retune]",
        "---",
        "",
        f"# {spec.task}: {spec.learner} from {spec.base_name}",
        "",
        f"{'Fine-tuned' if tuned else 'Not tuned: the weights are those of the base'}, built by Retune.",
        "",
        *["```python", *use, "```"],
        "",
        "## Data",
        "",
        f"{data} Source: {spec.data.name}, licence: {spec.data.license}.",
        "",
        "## Dev metrics" + (f" (step {best['step']})" if best else ""),
        "",
        *["| Metric | Value |", "|:--|--:|", *metrics],
        "",
        *(f"- {message}" for message in training.messages),
        "",
        "## Parameters",
        "",
        *["| Key | Value |", "|:--|:--|", *parameters, f"| seed | {spec.seed} |"],
        "",
        "## Licence",
        "",
        f"The base {spec.base_name} is under: {source['license']}. {source.get('note') or ''}".rstrip(),
    ]
    (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
