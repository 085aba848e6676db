"""Fetch one pretrained checkpoint as a plain Hugging Face folder (`python -m stages.download_base encoder`)."""

from __future__ import annotations

from retune.pipeline.stage import Stage, stage
from retune.sources.checkpoints.fetch_checkpoint import fetch


@stage
def download_base(run: Stage, role: str) -> None:
    """Write models/bases/ROLE: config, safetensors, tokenizer, and SOURCE.json with origin, licence and hashes."""
    with run.output(run.base_dir(role)) as folder:
        fetch(run.base(role), folder, run.log)


if __name__ == "__main__":
    download_base()
