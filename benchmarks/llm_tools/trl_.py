"""Train one job with TRL's SFTTrainer: `python trl_.py job.json`, in the environment of requirements-trl.txt.

As TRL comes, the loss scores the vocabulary at every position where Triton has no device (on any processor), and
activations are checkpointed. With `label_only` the branch that scores the answer's positions only is forced on; its
kernel then runs in plain torch, as it does without Triton anyway. With `checkpointing: false` activations are kept.
"""

from __future__ import annotations

import record
import torch
import transformers
import trl
import trl.trainer.utils
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Load, train, save the adapter, print the measurements."""
    job = record.read_job()
    clock = record.start()
    torch.set_num_threads(job["threads"])
    if job["label_only"]:
        # The only use of this name in trl.trainer.utils: whether just the labelled positions are scored. The kernels'
        # own check is another name, in trl.kernels, and stays as it is.
        trl.trainer.utils._use_triton = lambda device: True
    base = AutoModelForCausalLM.from_pretrained(job["base"], dtype=getattr(torch, job["dtype"]))
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(base, job["start"], is_trainable=True),
        args=SFTConfig(
            **record.trainer_arguments(job),
            max_length=job["max_length"],
            train_sampling_strategy="sequential",
            gradient_checkpointing=job["checkpointing"],
        ),
        train_dataset=Dataset.from_dict(record.tokenized(job["rows"])),
        processing_class=AutoTokenizer.from_pretrained(job["base"]),
    )
    trainer.train()
    trainer.save_model(job["adapter"])
    clock.report(version=f"trl {trl.__version__}, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
