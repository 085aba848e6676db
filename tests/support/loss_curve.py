"""The course of a training, number by number."""

from __future__ import annotations

from retune.training.record import Training


def curve(record: Training, *names: str) -> list[float]:
    """What `record` says of `names` (losses and norms of gradients, where none is given), in its order."""
    names = names or ("loss", "grad_norm", "eval_loss")
    return [entry[name] for entry in record.history for name in names if name in entry]
