"""Mean loss of an adapter over the dev rows' answer tokens: `python dev_loss.py job.json`, in Retune's environment.

The same plain loop for every tool: one row at a time behind what all prompts begin with, which is read once, in float32
whatever the training computed in, so that the adapters differ and not the rounding of this loop; losses summed in
float64.
"""

from __future__ import annotations

import copy
import itertools
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
    rows = record.read_rows(job["dev"])
    tokens = zip(*(row["prompt_ids"][:-1] for row in rows), strict=False)
    common = [at[0] for at in itertools.takewhile(lambda at: len(set(at)) == 1, tokens)]
    start = model(input_ids=torch.tensor([common]), logits_to_keep=1).past_key_values if common else None
    sums, count = [], 0
    for row in rows:
        ids = torch.tensor([[*row["prompt_ids"], *row["answer_ids"]][len(common) :]])
        answer = torch.tensor(row["answer_ids"])
        kept = copy.deepcopy(start)  # the model appends to it
        logits = model(input_ids=ids, past_key_values=kept, logits_to_keep=len(answer) + 1).logits[0, :-1]
        sums.append(F.cross_entropy(logits, answer, reduction="none").double().sum().item())
        count += len(answer)
    print(json.dumps({"dev_loss": sum(sums) / count, "dev_sums": sums}))


if __name__ == "__main__":
    main()
