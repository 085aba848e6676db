"""The stack of layers of a transformer, wherever its class keeps it."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from retune.errors import RetuneError


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The list of the model's `num_hidden_layers` layers, the lowest first; of those that read text.

    Raises `RetuneError` for a model that keeps its layers in no list (ALBERT, which shares one among all).
    """
    depth = model.config.get_text_config().num_hidden_layers
    for module in decoder_of(model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise RetuneError(
        f"{model.config.model_type} keeps its {depth} layers in no list: take training.freeze_layers 0 and "
        "hardware.sharding none"
    )


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """What reads text in a model and makes hidden states of it, without the output head; the model, if it is that."""
    found = model.get_decoder()  # of ModernBERT's decoder it finds the output head, which has that name there
    decoder: PreTrainedModel = found if isinstance(found, PreTrainedModel) else model.base_model
    return decoder
