"""The training objective of the encoders, from the `loss` section: loss, R-Drop and adversary around a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from retune.encoders import adversarial, losses

if TYPE_CHECKING:
    from retune.params import Params

Forward = Callable[[], torch.Tensor]


def objective(
    options: Params, train_labels: Sequence[int], classes: int, embedding: nn.Module, device: torch.device
) -> Callable[..., torch.Tensor]:
    """Build `loss(forward, labels, whole=None)`: `forward()` gives class logits [n, classes], at each call.

    `labels` are those of the rows [n], `whole` those of the batch that they are a part of (else they are the batch):
    what the parts give adds up to the batch's loss, for an adversary shifts each text by its own gradient alone.
    R-Drop calls it twice (two draws of dropout); an adversary calls it again on shifted outputs of `embedding`, and the
    result is the sum of the clean and the adversarial loss.
    """
    balanced = options.class_weights == "balanced"
    weights = losses.balanced_weights(torch.as_tensor(train_labels), classes).to(device) if balanced else None
    gamma = options.gamma if options.name == "focal" else 0.0

    def plain(logits: torch.Tensor, labels: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        return losses.focal(logits, labels, gamma, weights, options.label_smoothing, whole)

    def regular(forward: Forward, labels: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        if not options.r_drop:
            return plain(forward(), labels, whole)
        first, second = forward(), forward()
        both = (plain(first, labels, whole) + plain(second, labels, whole)) / 2
        return both + options.r_drop * losses.symmetric_kl(first, second, len(whole))

    def total(forward: Forward, labels: torch.Tensor, whole: torch.Tensor | None = None) -> torch.Tensor:
        whole = labels if whole is None else whole
        if options.adversarial == "fgm":
            return sum_of(adversarial.fgm(lambda: regular(forward, labels, whole), embedding, options.epsilon))
        if options.adversarial == "pgd":
            attack = (options.epsilon, options.pgd_steps, options.pgd_step_size)
            return sum_of(adversarial.pgd(lambda: regular(forward, labels, whole), embedding, *attack))
        return regular(forward, labels, whole)

    return total


def sum_of(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Clean loss plus adversarial loss."""
    return pair[0] + pair[1]
