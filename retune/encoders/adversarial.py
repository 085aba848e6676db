"""Adversarial training on word embeddings: the loss at the worst small shift of the embedding layer's output.

The shift is added to what the embedding layer returns, by a forward hook; so frozen embeddings can be attacked as well,
and no weight is ever changed. Each text has its own shift, of L2 norm `epsilon` over all its tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

Loss = Callable[[], torch.Tensor]


@contextlib.contextmanager
def shifted(embedding: nn.Module, shift: torch.Tensor | None) -> Iterator[list[torch.Tensor]]:
    """Add `shift` [texts, tokens, width] to the layer's output, or, if None, a zero shift that can be differentiated.

    Yields the list that receives the shift of each forward pass in the block.
    """
    used: list[torch.Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        used.append(torch.zeros_like(output).requires_grad_() if shift is None else shift)
        return output + used[-1]

    handle = embedding.register_forward_hook(hook)
    try:
        yield used
    finally:
        handle.remove()


def fgm(loss: Loss, embedding: nn.Module, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The clean loss and the loss at the shift epsilon g / |g|, g the gradient there (Miyato et al. 2017, FGM).

    `loss()` runs one forward pass through `embedding`; train on the sum of both.
    """
    with shifted(embedding, None) as shifts:
        clean = loss()
    (gradient,) = torch.autograd.grad(clean, shifts[0], retain_graph=True)
    with shifted(embedding, epsilon * _unit(gradient)):
        return clean, loss()


def pgd(
    loss: Loss, embedding: nn.Module, epsilon: float, steps: int, step_size: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clean loss and the loss after `steps` ascents of `step_size`, kept within `epsilon` (Madry et al. 2018)."""
    with shifted(embedding, None) as shifts:
        clean = loss()
    (gradient,) = torch.autograd.grad(clean, shifts[0], retain_graph=True)
    shift = _within(step_size * _unit(gradient), epsilon)
    for _ in range(steps - 1):
        shift.requires_grad_()
        with shifted(embedding, shift):
            (gradient,) = torch.autograd.grad(loss(), shift)
        shift = _within(shift.detach() + step_size * _unit(gradient), epsilon)
    with shifted(embedding, shift.detach()):
        return clean, loss()


def norms(shift: torch.Tensor) -> torch.Tensor:
    """L2 norm of each text's shift, [texts]."""
    return shift.float().flatten(1).norm(dim=1)


def _unit(gradient: torch.Tensor) -> torch.Tensor:
    """Each text's gradient at norm 1; a zero gradient (which gives no direction) stays zero."""
    return gradient / norms(gradient).clamp(min=1e-12).view(-1, *[1] * (gradient.ndim - 1))


def _within(shift: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Project each text's shift onto the ball of radius epsilon."""
    return shift * (epsilon / norms(shift).clamp(min=epsilon)).view(-1, *[1] * (shift.ndim - 1))
