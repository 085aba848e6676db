"""What each declared model needs, against what its device has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retune.doctor import lengths, memory, shape
from retune.doctor.finding import OK, PROBLEM, WARNING, Finding
from retune.doctor.machine import Device
from retune.doctor.memory import GIB, Need
from retune.doctor.shape import Shape

SMALLER = (
    "lower training.packed_tokens or training.max_length, set training.gradient_checkpointing, take a smaller base, or "
    "(llm) an adapter and quantization.bits 4"
)


@dataclass(frozen=True)
class Estimate:
    """What a model's training takes as its passes are likely to be (`likely`), and with a single row in each (`least`).

    `bound`: the rows are not here yet, so `likely` is the most that the limits allow. `trained`: parameters with a
    gradient.
    """

    likely: Need
    least: Need
    bound: bool
    shape: Shape
    trained: float


def estimates(resolved: dict[str, Any], root: Path, device: Device) -> dict[str, Estimate | None]:
    """Model -> its estimate; None where nothing tells how large its base is. Models without a base are left out."""
    found: dict[str, Estimate | None] = {}
    for name, spec in resolved["models"].items():
        base = resolved["bases"].get(spec["base"]) or {}
        if "training" not in spec or base.get("kind") == "none":
            continue
        sizes = size_of(base, spec["base"], root)
        found[name] = estimate(spec, resolved["tasks"][spec["task"]], sizes, root, device) if sizes else None
    return found


def size_of(base: dict[str, Any], role: str, root: Path) -> Shape | None:
    """The shape of a base: built, on this machine, or as its name says."""
    built = shape.of_folder(root / "models/bases" / role)
    if built:
        return built
    if base.get("kind") == "path" and (here := shape.of_folder(root / Path(base["path"]).expanduser())):
        return here
    return shape.of_name(str(base.get("repo") or "").rpartition("/")[2]) or shape.of_name(str(base.get("name") or ""))


def estimate(spec: dict[str, Any], task: dict[str, Any], sizes: Shape, root: Path, device: Device) -> Estimate:
    """The estimate of one model."""
    rows = root / "data/splits" / spec["task"] / "train.parquet"
    one = lengths.of(spec, task, rows, root / "models/bases" / spec["base"])
    hardware = spec.get("hardware") or {}
    dtype = hardware.get("dtype", "auto")
    dtype = device.dtype if dtype == "auto" else dtype
    kind = "cpu" if device.kind == "cpu" else "cuda"
    likely = memory.of(spec, sizes, one, kind, dtype)
    least = memory.of(spec, sizes, replace(one, tokens=min(one.longest, one.tokens), targets=8), kind, dtype)
    return Estimate(likely, least, one.bound, sizes, likely.optimizer / 8)


def findings(found: dict[str, Estimate | None], device: Device) -> list[Finding]:
    """One finding for each model."""
    there = f"{device.free / GIB:.1f} GiB are free ({device.words})"
    said = []
    for name, one in found.items():
        about = f"memory of {name}"
        if one is None:
            text = "unknown: its base is not built, and no name tells its size"
            said.append(Finding(about, OK, f"{text}; `dvc repro download_base@ROLE` fetches it"))
            continue
        need = one.likely
        parts = (
            f"weights {need.weights / GIB:.1f}, gradients and optimizer {(need.gradients + need.optimizer) / GIB:.1f}, "
            f"activations {need.activations / GIB:.1f}, process {need.process / GIB:.1f}"
        )
        how = "at most " if one.bound else "about "
        by = "" if one.shape.known == "config.json" else f", by {one.shape.known}"
        text = f"{how}{need.total / GIB:.1f} GiB ({parts}{by})"
        fixed = need.total - need.activations
        if (fixed if one.bound else one.least.total) > device.free:
            least = f"{(fixed if one.bound else one.least.total) / GIB:.1f} GiB in the smallest passes"
            said.append(Finding(about, PROBLEM, f"{text}, {least}, but {there}", SMALLER))
        elif need.total > device.free:
            smaller = (
                "passes become smaller by themselves where memory runs out, but the system may end the process first"
            )
            said.append(Finding(about, WARNING, f"{text}, but {there}; {smaller}", SMALLER))
        else:
            said.append(Finding(about, OK, f"{text}; {there}"))
    return said


def bytes_to_fetch(resolved: dict[str, Any], root: Path) -> tuple[float, int]:
    """Bytes of the bases that are not built, as far as known, and how many are not known."""
    total, unknown = 0.0, 0
    for role, base in resolved["bases"].items():
        if base.get("kind") in ("none", "path") or (root / "models/bases" / role).exists():
            continue
        sizes = size_of(base, role, root)
        total += sizes.file if sizes else 0
        unknown += sizes is None
    return total, unknown


def bytes_to_write(found: dict[str, Estimate | None], root: Path) -> float:
    """Bytes of models that are not built, with three checkpoints (weights and optimizer) while they train."""
    return sum(4.0 * one.trained + 3 * 12.0 * one.trained for name, one in found.items()
               if one and not (root / "models" / name).exists())  # fmt: skip
