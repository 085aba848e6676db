"""The stack of layers of a transformer, wherever its class keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from retune.errors import RetuneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The list of the model's `num_hidden_layers` layers, the lowest first; of those that read text.

    Raises `RetuneError` for a model that keeps its layers in no list (ALBERT, which shares one among all).
    """
    depth = model.config.get_text_config().num_hidden_layers
    for module in model.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise RetuneError(
        f"{model.config.model_type} keeps its {depth} layers in no list: take training.freeze_layers 0 and "
        "hardware.sharding none"
    )
