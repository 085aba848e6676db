"""Mean loss of an adapter over the dev rows' answer tokens: `python dev_loss.py job.json`, in Retune's environment.

The same plain loop for every tool: one row at a time, in float32 whatever the training computed in, so that the
adapters differ and not the rounding of this loop; losses summed in float64.
"""

from __future__ import annotations

import json

import record
import torch
import torch.nn.functional as F
from peft import PeftModel
from transformers import AutoModelForCausalLM


@torch.inference_mode()
def main() -> None:
    """Print the loss, and of each row the sum over its tokens."""
    job = record.read_job()
    torch.set_num_threads(job["threads"])
    base = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32)
    model = PeftModel.from_pretrained(base, job["adapter"]).eval()
    sums, count = [], 0
    for row in record.read_rows(job["dev"]):
        ids = torch.tensor([row["prompt_ids"] + row["answer_ids"]])
        answer = torch.tensor(row["answer_ids"])
        logits = model(input_ids=ids, logits_to_keep=len(answer) + 1).logits[0, :-1].float()
        sums.append(F.cross_entropy(logits, answer, reduction="none").double().sum().item())
        count += len(answer)
    print(json.dumps({"dev_loss": sum(sums) / count, "dev_sums": sums}))


if __name__ == "__main__":
    main()
