"""What an entry of `exports` comes to in the resolved file: its keys, and what else the stage `export` reads."""

from __future__ import annotations

from typing import Any

from retune.pipeline.schema.export import Export

SAID = ("name", "kind", "repo", "revision", "license", "note")
"""What an export's card says of its base and of its data."""

MEASURED = ("kind", "labels", "bootstrap", "confidence", "seed")
"""What of a task's section `evaluation` the measurement of an export with 8-bit weights reads."""


def of(resolved: dict[str, Any], export: Export) -> dict[str, Any]:
    """The entry, what of its model the export reads, and what its card says of the base and of the data."""
    found = export.model_dump()
    spec, base = resolved["models"].get(export.model, {}), resolved["bases"].get(export.base, {})
    task = resolved["tasks"].get(export.task, {})
    if evaluation := task.get("evaluation"):  # a wrong `task` is told by the checks
        found["confidence"] = evaluation["confidence"]
    found |= {key: spec[key] for key in ("kind", "learner") if key in spec}
    if bits := spec.get("quantization", {}).get("bits"):
        found["quantization"] = {"bits": bits}
    if found["merge"] is None:  # others read a quantised base in other numbers
        found["merge"] = bits in (4, 8)
    for name, entry in (("base_entry", base), ("source", task.get("source", {}))):
        found[name] = {key: entry[key] for key in SAID if key in entry}
    return found


def measured(entry: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """The task's section `evaluation`, as far as what 8 bits cost is measured by it; nothing for any other export."""
    if entry["onnx"] != "int8":
        return {}
    return {"evaluation": {key: evaluation[key] for key in MEASURED if key in evaluation}}
