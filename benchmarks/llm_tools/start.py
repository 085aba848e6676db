"""Write what the tools start from: the untrained adapter, and the base in the job's dtype (`python start.py job.json`).

An adapter's second matrix starts at zero, so the loss of step 1 is the base's own; the first is the same in all tools.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import record
import torch
from retune_ import spec_of
from transformers import AutoModelForCausalLM

from retune.llm import adapter
from retune.training import hardware


def main() -> None:
    """Write both folders and print the base's parameters."""
    job = record.read_job()
    spec = spec_of(job)
    chosen = hardware.choose(spec.hardware, tree_attention=True)
    stored = Path(job["stored_base"])
    if stored != Path(job["base"]) and not (stored / "config.json").is_file():
        store(Path(job["base"]), stored, chosen.dtype)
    model = adapter.load_base(Path(job["base"]), spec, chosen)
    parameters = sum(weight.numel() for weight in model.parameters())
    start = Path(job["start"])
    start.mkdir(parents=True, exist_ok=True)
    adapter.save(adapter.add(model, spec.lora, spec.base_name, spec.seed, chosen), start)
    print(json.dumps({"parameters": parameters}))


def store(base: Path, out: Path, dtype: torch.dtype) -> None:
    """Copy a base with its weights in `dtype`."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(base, part, ignore=shutil.ignore_patterns("*.safetensors*"))
    AutoModelForCausalLM.from_pretrained(base, dtype=dtype).save_pretrained(part)
    part.rename(out)


if __name__ == "__main__":
    main()
