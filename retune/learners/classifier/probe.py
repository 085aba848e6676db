"""The linear layer's first weights by a linear probe (`training.head: probe`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from retune.encoders import forward, linear_probe
from retune.encoders.tokens import Encoded

if TYPE_CHECKING:
    from retune.learners.classifier.model import Classifier
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

Side = tuple[list[Encoded], np.ndarray]
"""Rows and the codes of their labels."""


def start(model: Classifier, train: Side, dev: Side, balanced: bool, pad_id: int, chosen: Chosen) -> bool:
    """Give the linear layer the weights of a logistic regression on the frozen encoder's vectors.

    False where it cannot be fitted, and the weights stay random.
    """
    if len(np.unique(train[1])) < 2:
        log.info("head random: all training rows have one label, of which a probe learns nothing")
        return False
    width, classes = model.classifier.in_features, model.classifier.out_features
    model.to(chosen.device)
    features, dev_features = (
        forward.outputs(model, rows, model.pooled, (width,), pad_id, chosen, "probe").astype(np.float64)
        for rows, _ in (train, dev)
    )
    weight, bias, penalty = linear_probe.fit(features, train[1], dev_features, dev[1], classes, balanced)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(weight))
        model.classifier.bias.copy_(torch.from_numpy(bias))
    log.info("head probe: logistic regression on %d frozen vectors, C %g by dev log loss", len(features), penalty)
    return True
