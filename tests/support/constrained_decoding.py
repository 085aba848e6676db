"""Label probabilities the slow, obvious way: token by token, a softmax over the tokens with which an answer goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


@torch.no_grad()
def log_probs(model: torch.nn.Module, prompt: list[int], answers: Sequence[Sequence[int]], end: int) -> np.ndarray:
    """Log-probability of each answer behind one prompt, each run by itself: [answers]."""
    whole = [[*answer, end] for answer in answers]
    scores = np.zeros(len(whole))
    for j, answer in enumerate(whole):
        logits = model(torch.tensor([prompt + answer]), use_cache=False).logits[0]
        for k, token in enumerate(answer):
            allowed = sorted({other[k] for other in whole if other[:k] == answer[:k]})
            scores[j] += logits[len(prompt) - 1 + k, allowed].log_softmax(-1)[allowed.index(token)].item()
    return scores
