"""Classify the rows of a job in one of three ways: `python generate.py job.json`, in Retune's environment.

- `generate`: transformers' `generate`, greedy, in padded batches; its text is parsed as a label's name.
- `labels`: Retune's label scoring.
- `apart`: each label by a padded pass of its own, logits at the answer only.
"""

from __future__ import annotations

# First: it tells torch's threads how to wait, before torch is loaded.
from retune.llm import adapter
from retune.llm.label_scoring import label_log_probs
from retune.llm.reading import packed_by
from retune.training import hardware

# isort: split
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from peft import PeftModel
from retune_ import spec_of
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Load, classify on the clock, print the seconds and the label number of each row (-1: not parsed)."""
    job = record.read_job()
    torch.set_num_threads(job["threads"])
    prompts = [row["prompt_ids"] for row in record.read_rows(job["rows"])]
    classify = METHODS[job["method"]](job, prompts)
    start = time.monotonic()
    predictions = classify()
    seconds = time.monotonic() - start
    print(json.dumps({"seconds": seconds, "predictions": predictions, "peak_gib": record.peak_gib()}))


def stock(job: dict[str, Any]) -> Any:
    """The model as transformers loads it, with the adapter merged as one would for use.

    The weights are left as a fresh checkpoint's: peft freezes them, and with a frozen bfloat16 weight torch 2.13 took
    10 s instead of 0.1 s on a CPU for the output head of Gemma 3 (262,144 tokens) at a few positions.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(job["base"], dtype=getattr(torch, job["dtype"]))
    if job["adapter"]:
        model = PeftModel.from_pretrained(model, job["adapter"]).merge_and_unload()
    return model.requires_grad_(True).eval()


def by_labels(job: dict[str, Any], prompts: list[list[int]]) -> Callable[[], list[int]]:
    """The label of the highest probability, by Retune."""
    spec = spec_of(job)
    chosen = hardware.choose(spec.hardware, tree_attention=True)
    model: Any = adapter.load_base(Path(job["base"]), spec, chosen)
    if job["adapter"]:
        model = adapter.attach(model, Path(job["adapter"]), chosen)
    model.eval()

    def classify() -> list[int]:
        packed = packed_by(adapter.base_of(model), chosen, prompts)
        with adapter.mixed_precision(packed.model, chosen):
            return [int(best) for best in label_log_probs(packed, prompts, job["answers"], job["end"]).argmax(1)]

    return classify


def by_generation(job: dict[str, Any], prompts: list[list[int]]) -> Callable[[], list[int]]:
    """The label whose name was generated."""
    model, tokenizer = stock(job), AutoTokenizer.from_pretrained(job["base"])
    return lambda: generate(model, tokenizer, prompts, job)


@torch.inference_mode()
def generate(model: Any, tokenizer: Any, prompts: list[list[int]], job: dict[str, Any]) -> list[int]:
    """Label number by the text that `model.generate` gives, -1 where it is no label's name."""
    names = [tokenizer.decode(ids).strip() for ids in job["answers"]]
    longest = max(map(len, job["answers"])) + 1
    found = []
    for rows in _batches(prompts, job["batch_size"]):
        ids, attended = _left_padded(rows)
        generated = model.generate(
            input_ids=ids,
            attention_mask=attended,
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=job["end"],
            pad_token_id=job["end"],
        )
        texts = tokenizer.batch_decode(generated[:, ids.shape[1] :], skip_special_tokens=True)
        found += [names.index(text.strip()) if text.strip() in names else -1 for text in texts]
    return found


def by_each_label(job: dict[str, Any], prompts: list[list[int]]) -> Callable[[], list[int]]:
    """The label of the highest probability, each label scored by a pass over the whole batch."""
    model = stock(job)
    return lambda: score_each(model, prompts, job)


@torch.inference_mode()
def score_each(model: Any, prompts: list[list[int]], job: dict[str, Any]) -> list[int]:
    """Label number by the log-probabilities of each label's tokens, among those with which some answer goes on."""
    whole = [[*answer, job["end"]] for answer in job["answers"]]
    found: list[int] = []
    for rows in _batches(prompts, job["batch_size"]):
        scores = np.zeros((len(rows), len(whole)))
        for label, answer in enumerate(whole):
            ids, attended = _left_padded([[*row, *answer] for row in rows])
            positions = (attended.cumsum(1) - 1).clamp(min=0)
            logits = model(
                input_ids=ids, attention_mask=attended, position_ids=positions, logits_to_keep=len(answer) + 1
            ).logits[:, :-1]
            for step, token in enumerate(answer):
                allowed = sorted({other[step] for other in whole if other[:step] == answer[:step]})
                logs = logits[:, step, allowed].float().log_softmax(-1)
                scores[:, label] += logs[:, allowed.index(token)].numpy()
        found += [int(best) for best in scores.argmax(1)]
    return found


def _batches(rows: list[list[int]], count: int) -> list[list[list[int]]]:
    return [rows[start : start + count] for start in range(0, len(rows), count)]


def _left_padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (rows, longest); the padding stands at the left."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    attended = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, attended


METHODS = {"generate": by_generation, "labels": by_labels, "apart": by_each_label}


if __name__ == "__main__":
    main()
