"""The training objective of the encoders, from the `loss` section: loss, R-Drop and adversary around a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from retune.encoders import adversarial, distillation, losses

if TYPE_CHECKING:
    from retune.params import Params

Forward = Callable[[], torch.Tensor]


def objective(
    options: Params,
    train_labels: Sequence[int],
    classes: int,
    embedding: nn.Module,
    device: torch.device,
    teacher: Params | None = None,
) -> Callable[..., torch.Tensor]:
    """Build `loss(forward, labels, whole=None, lessons=None)`: `forward()` gives class logits [n, classes] at a call.

    `labels` are those of the rows [n], `whole` those of the batch that they are a part of (else they are the batch):
    what the parts give adds up to the batch's loss, for an adversary shifts each text by its own gradient alone.
    With a `teacher` (a section of that name) there are `lessons` [n, classes], see retune.encoders.distillation.
    R-Drop calls it twice (two draws of dropout); an adversary calls it again on shifted outputs of `embedding`, and the
    result is the sum of the clean and the adversarial loss.
    """
    balanced = options.class_weights == "balanced"
    weights = losses.balanced_weights(torch.as_tensor(train_labels), classes).to(device) if balanced else None
    gamma = options.gamma if options.name == "focal" else 0.0

    def gold(logits: torch.Tensor, labels: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        return losses.focal(logits, labels, gamma, weights, options.label_smoothing, whole)

    def total(
        forward: Forward,
        labels: torch.Tensor,
        whole: torch.Tensor | None = None,
        lessons: torch.Tensor | None = None,
    ) -> torch.Tensor:
        batch = labels if whole is None else whole

        def plain(logits: torch.Tensor) -> torch.Tensor:
            if teacher is None or lessons is None:
                return gold(logits, labels, batch)
            return distillation.taught(gold, logits, labels, batch, lessons, teacher)

        def regular() -> torch.Tensor:
            if not options.r_drop:
                return plain(forward())
            first, second = forward(), forward()
            both = (plain(first) + plain(second)) / 2
            return both + options.r_drop * losses.symmetric_kl(first, second, len(batch))

        if options.adversarial == "fgm":
            return sum_of(adversarial.fgm(regular, embedding, options.epsilon))
        if options.adversarial == "pgd":
            attack = (options.epsilon, options.pgd_steps, options.pgd_step_size)
            return sum_of(adversarial.pgd(regular, embedding, *attack))
        return regular()

    return total


def sum_of(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Clean loss plus adversarial loss."""
    return pair[0] + pair[1]
