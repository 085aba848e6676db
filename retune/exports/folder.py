"""What every exported folder has beside its weights: export.json, which machines read, and README.md, a hub card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune import params
from retune.errors import RetuneError
from retune.exports.protocol import Built
from retune.learners import package
from retune.training import provenance

if TYPE_CHECKING:
    from retune.exports.protocol import Exported
    from retune.params import Params

CARD, README = "export.json", "README.md"
FORMAT = 1
"""Raised when a reader of older folders would misread a newer one."""


def built(given: Params, base: Callable[[str], Path]) -> Built:
    """The model of an entry of `exports`, as it lies in the project; `base` finds the folder of a role.

    What was fitted and measured of an LLM that thinks is that of its answer without a thought: no other is one pass.
    """
    folder = Path("models") / given.model
    spec = params.load(folder / "spec.json")
    fitted = json.loads(Path(f"data/calibrations/{spec.task}/{given.model}.json").read_text(encoding="utf-8"))
    metrics = json.loads(Path(f"reports/metrics/{given.model}.json").read_text(encoding="utf-8"))["test"]
    if "direct" in fitted:
        details = Path(f"reports/evaluations/{spec.task}/{given.model}/details/readings.json")
        found = json.loads(details.read_text(encoding="utf-8"))["readings"]["direct"]
        fitted, metrics = fitted["direct"], found["metrics"]
    kept = {name: value for name, value in fitted.items() if isinstance(value, int | float | str) or value is None}
    return Built(given.model, folder, base(spec.base), spec, kept, given, metrics)


def write_card(built: Built, exported: Exported, out: Path) -> None:
    """Write export.json: all that is needed to answer as in the report, without the project."""
    spec = built.spec
    task = {"name": spec.task, "kind": spec.kind, "labels": spec.get("labels"), "texts": list(built.columns)}
    task |= {key: spec[key] for key in ("scores", "dimensions", "reasoning") if key in spec}
    card = {
        "format": FORMAT,
        "name": built.name,
        "form": exported.form,
        "learner": package(spec),
        "opener": exported.opener,
        "dtype": exported.dtype,
        "task": task,
        "calibration": exported.fitted,
        **exported.more,
        "spec": spec,
        "licence": {"base": built.given.base_entry, "data": built.given.source},
        "provenance": provenance.read(built.folder),
    }
    _json(out / CARD, card)


def read_card(folder: Path) -> Params:
    """export.json of a folder. Raises `RetuneError` for one of a newer format."""
    card = params.load(folder / CARD)
    if card.get("format", 0) > FORMAT:
        raise RetuneError(f"{folder / CARD} has format {card.format}, and this Retune reads {FORMAT}: take a newer one")
    return card


def write_readme(built: Built, exported: Exported, parity: dict[str, Any], out: Path) -> None:
    """Write README.md: the card that the hub shows, with the test metrics and their intervals."""
    (out / README).write_text(
        "\n".join([*_front(built, exported), *_body(built, exported, parity), ""]), encoding="utf-8"
    )


def _front(built: Built, exported: Exported) -> list[str]:
    """The YAML head; JSON is YAML."""
    given, spec = built.given, built.spec
    base = given.base_model or given.base_entry.get("repo")
    results = [
        {"type": name, "value": value["value"], "name": f"{name} ({_span(value)})" if _span(value) else name}
        for name, value in _metrics(built)
    ]
    result = {"task": {"type": exported.tag}, "dataset": {"name": spec.task, "type": spec.task}, "metrics": results}
    head: dict[str, Any] = {
        "library_name": exported.library,
        "pipeline_tag": exported.tag,
        "license": _licence(given.base_entry.get("license")),
        **({"base_model": base} if base else {}),
        **({"datasets": given.datasets} if given.datasets else {}),
        **({"language": given.language} if given.language else {}),
        "tags": ["retune", spec.kind, spec.learner],
        "model-index": [{"name": built.name, "results": [result]}],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    return ["---", *lines, "---", ""]


def _licence(name: str | None) -> str:
    """A licence as the hub writes it: `apache-2.0`; `other` for what is none of SPDX's names."""
    plain = (name or "other").lower()
    return "other" if " " in plain or plain == "none" else plain


def _body(built: Built, exported: Exported, parity: dict[str, Any]) -> list[str]:
    spec, given = built.spec, built.given
    shown = [f"| {name} | {value['value']:.4f} | {_span(value) or 'none'} |" for name, value in _metrics(built)]
    fitted = [f"| {key} | {value} |" for key, value in exported.fitted.items() if isinstance(value, float)]
    base = given.base_entry.get("name", spec.base_name)
    note = given.base_entry.get("note")
    parts: list[list[str]] = [
        [
            f"# {built.name}",
            "",
            f"Task {spec.task} ({spec.kind}), learner {spec.learner}, from {base}; built by Retune.",
            *(["", exported.note] if exported.note else []),
        ],
        ["```python", *exported.use, "```"],
        ["## Test metrics", "", "| metric | value | interval |", "|:--|--:|:--|", *shown],
        ["## Parity", "", _parity(parity)],
        ["## Calibration", "", "| number | value |", "|:--|--:|", *fitted] if fitted else [],
        [
            "## Data and licence",
            "",
            f"Base: {base}, {given.base_entry.get('license', 'licence not declared')}{f' ({note})' if note else ''}.",
            f"Data: {given.source.get('name', spec.task)}, {given.source.get('license', 'licence not declared')}.",
            "Hashes of what it was trained on and versions of packages: `provenance` in export.json.",
        ],
    ]
    return [line for part in parts if part for line in (*part, "")][:-1]


def _parity(parity: dict[str, Any]) -> str:
    cut = f" {parity['cut']} rows that are cut at the model's length were left out." if parity["cut"] else ""
    return (
        f"{parity['rows']} calibration rows, answered by {parity['loader']} in a process of its own and by the model "
        f"itself: largest difference {parity['largest_difference']:.1e}, equal decisions "
        f"{parity['equal_decisions']:.1%} (parity.json).{cut}"
    )


def _metrics(built: Built) -> list[tuple[str, dict[str, Any]]]:
    """Name and {value, low, high} of what was measured on test."""
    found = built.metrics.items()
    return [(name, value) for name, value in found if isinstance(value, dict) and value.get("value") is not None]


def _span(value: dict[str, Any]) -> str:
    return "" if value.get("low") is None else f"{value['low']:.3f} to {value['high']:.3f}"


def _json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
