"""The README.md of a model folder: what the model is, what it was trained on, how and how well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retune.training.checkpoint_choice import model_record

if TYPE_CHECKING:
    from retune.params import Params
    from retune.training.record import Training

LIBRARY = "sentence-transformers"


def write(spec: Params, data: str, training: Training, use: list[str], out: Path) -> None:
    """Write README.md into `out`; `data` says in a sentence what the rows were, `use` are lines of Python."""
    tuned = spec.training.epochs > 0
    best = model_record(training.history, spec.training) if tuned else training.history[-1]
    assert best is not None, "`retune.training.job` has kept one"
    metrics = [f"| {name[5:]} | {value:.4f} |" for name, value in sorted(best.items()) if name.startswith("eval_")]
    sections = [section for section in spec if isinstance(spec[section], dict) and section != "hardware"]
    parameters = [f"| {section}.{key} | {value} |" for section in sections for key, value in spec[section].items()]
    task = "sentence-similarity" if spec.learner == "embedder" else "text-ranking"
    lines = [
        "---",
        f"library_name: {LIBRARY}",
        f"pipeline_tag: {task}",
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
        data,
        "",
        f"## Dev metrics (step {best['step']})",
        "",
        *["| Metric | Value |", "|:--|--:|", *metrics],
        "",
        *(f"- {message}" for message in (*training.messages, *training.warnings)),
        "",
        "## Parameters",
        "",
        *["| Key | Value |", "|:--|:--|", *parameters, f"| seed | {spec.seed} |"],
        "",
        "## Licence",
        "",
        f"The weights come from {spec.base_name}. Its licence and that of the data stand in the project's report, in "
        "models/catalog.yaml and in data/catalog.yaml.",
    ]
    (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
