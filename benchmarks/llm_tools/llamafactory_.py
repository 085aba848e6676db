"""Train one job with LLaMA-Factory: `python llamafactory_.py job.json`, in the environment of its requirements file.

Runs the function behind `llamafactory-cli train`. The rows come as LLaMA-Factory's own tokenized data set, so that its
templates cannot make other tokens of them. The base must be stored in the job's dtype: it loads what it finds.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import record
import torch
import transformers
from datasets import Dataset, DatasetDict


def main() -> None:
    """Store the rows, train, print the measurements."""
    job = record.read_job()
    clock = record.start()
    torch.set_num_threads(job["threads"])
    columns = record.tokenized(job["rows"])
    columns["attention_mask"] = [[1] * len(ids) for ids in columns["input_ids"]]
    data = Path(job["scratch"]) / "tokenized"
    DatasetDict({"train": Dataset.from_dict(columns)}).save_to_disk(data)
    from llamafactory.train.tuner import run_exp

    run_exp(
        {
            **record.trainer_arguments(job),
            "output_dir": job["adapter"],
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": job["stored_base"],
            "adapter_name_or_path": job["start"],
            "finetuning_type": "lora",
            "template": "empty",
            "dataset": "unused",
            "tokenized_path": str(data),
            "cutoff_len": job["max_length"],
            "disable_shuffling": True,
            "disable_gradient_checkpointing": not job["checkpointing"],
        }
    )
    clock.report(version=f"llamafactory {version('llamafactory')}, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
