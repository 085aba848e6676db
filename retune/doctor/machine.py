"""GPUs, memory of the machine within its limits, Landlock, and locks that dead processes left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune.doctor.finding import OK, PROBLEM, WARNING, Finding
from retune.pipeline import processes
from retune.pipeline.strict import landlock

GIB = 2**30

ASK = """
import json, torch
found = {"cuda": [], "bf16": False, "mps": torch.backends.mps.is_available(), "built": torch.version.cuda}
if torch.cuda.is_available():
    found["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        found["cuda"].append({"name": torch.cuda.get_device_name(number), "free": free, "total": total})
print(json.dumps(found))
"""
"""What torch sees, asked in a process of its own: it takes seconds to import."""


@dataclass(frozen=True)
class Device:
    """Where models train: `cuda`, `mps` or `cpu`, the bytes that are free there, and the dtype of `auto`."""

    kind: str
    free: float
    dtype: str
    words: str


def gpus(hardware: dict[str, Any]) -> tuple[list[Finding], Device]:
    """What was found of GPUs, and the device that a training would take."""
    ram, words = memory()
    cpu = Device("cpu", ram, "bfloat16" if _bfloat16() else "float32", words)
    wanted = hardware.get("device", "auto")
    driver = _driver()
    if wanted == "cpu":
        return [Finding("gpu", OK, "not asked for (hardware.device is cpu)")], cpu
    if driver is None and sys.platform != "darwin":
        if wanted == "cuda":
            remedy = "hardware.device: auto, or install the driver"
            return [Finding("gpu", PROBLEM, "none found, and hardware.device is cuda", remedy)], cpu
        return [Finding("gpu", OK, f"none, so models train on the processor in {cpu.dtype}")], cpu
    try:
        seen = json.loads(
            subprocess.run(
                [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=120, check=True
            ).stdout.splitlines()[-1]
        )
    except (subprocess.SubprocessError, ValueError, IndexError):
        return [Finding("gpu", PROBLEM, "torch can't be asked", "`python -c 'import torch'` says why")], cpu
    if seen["mps"]:
        return [Finding("gpu", OK, "Apple GPU")], Device("mps", ram, "float32", words)
    if not seen["cuda"]:
        said = f"a driver is there ({driver}), but torch (built for CUDA {seen['built']}) sees no GPU"
        return [Finding("gpu", WARNING, said, "a newer driver, a torch for this one, or CUDA_VISIBLE_DEVICES")], cpu
    listed = "; ".join(f"{g['name']}, {g['free'] / GIB:.0f} of {g['total'] / GIB:.0f} GiB free" for g in seen["cuda"])
    units = "with bfloat16" if seen["bf16"] else "without bfloat16 (float16 is used)"
    first = seen["cuda"][0]
    device = Device("cuda", first["free"], "bfloat16" if seen["bf16"] else "float16", first["name"])
    return [Finding("gpu", OK, f"{listed}, {units}, driver {driver}")], device


def _driver() -> str | None:
    """The version of Nvidia's driver; None where there is none."""
    if not shutil.which("nvidia-smi"):
        return "of unknown version" if Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() else None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split("\n")[0].strip() or None if done.returncode == 0 else None


def _bfloat16() -> bool:
    """Whether the processor computes in bfloat16, as retune.training.hardware asks it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    line = next((one for one in text.splitlines() if one.lower().startswith(("flags", "features"))), "")
    return bool(set(line.partition(":")[2].split()) & {"amx_bf16", "avx512_bf16", "bf16"})


def memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> tuple[float, str]:
    """Bytes that a process may still take, and how that is known: what is available, within the limits of cgroups."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        found = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines if ":" in line}
        free, words = found["MemAvailable"], f"of {found['MemTotal'] / GIB:.1f} GiB"
    except (OSError, KeyError, IndexError, ValueError):
        import psutil

        seen = psutil.virtual_memory()
        free, words = float(seen.available), f"of {seen.total / GIB:.1f} GiB"
    for limit, used in _limits(proc, cgroups):
        if limit - used < free:
            free, words = max(limit - used, 0.0), f"of {limit / GIB:.1f} GiB that the cgroup allows"
    return free, words


def _limits(proc: Path, cgroups: Path) -> list[tuple[float, float]]:
    """(limit, used without caches) in bytes of the cgroups of this process, of version 2 and 1."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders: list[tuple[Path, str, str]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inner = Path(path.lstrip("/"))
        chain = [inner, *inner.parents]
        if not controllers:
            folders += [(cgroups / part, "memory.max", "memory.current") for part in chain]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            folders += [(cgroups / "memory" / part, *names) for part in chain]
    found = []
    for folder, most, now in folders:
        try:
            limit, used = float((folder / most).read_text()), float((folder / now).read_text())
        except (OSError, ValueError):
            continue  # `max`: no limit
        cached = 0.0
        try:
            for line in (folder / "memory.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                cached += float(value) if name in ("inactive_file", "total_inactive_file") else 0.0
        except (OSError, ValueError):
            pass
        found.append((limit, max(used - cached, 0.0)))
    return [one for one in found if one[0] < 2**60]


def strict() -> Finding:
    """Whether the kernel holds stages to what they declare."""
    if landlock.version():
        return Finding("landlock", OK, f"version {landlock.version()}: the kernel holds stages to what they declare")
    said = "the kernel has none, so stages are held by Python's audit hook alone"
    return Finding("landlock", OK, f"{said} (docs/architecture.md#strict-stages)")


def locks(root: Path) -> Finding:
    """Whether DVC waits for a process that has ended."""
    path = root / ".dvc/tmp/rwlock"
    try:
        held = json.loads(path.read_text(encoding="utf-8") or "{}")
        entries = [*held.get("write", {}).values(), *(one for some in held.get("read", {}).values() for one in some)]
        dead = {one["pid"] for one in entries if not processes.runs(one["pid"], one["cmd"])}
        living = {one["pid"] for one in entries} - dead
    except FileNotFoundError:
        return Finding("locks", OK, "none")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Finding("locks", PROBLEM, f"{path} is cut, which DVC refuses", "`retune repro` mends it and builds")
    if dead:
        said = f"process {', '.join(map(str, sorted(dead)))} has ended and holds locks of DVC"
        return Finding("locks", WARNING, said, "`retune repro` clears them and builds")
    if living:
        return Finding("locks", OK, f"process {', '.join(map(str, sorted(living)))} builds here at the moment")
    return Finding("locks", OK, "none")
