"""What a model does to its last hidden states behind the decoder, found by trying it on a few of them.

Granite divides the products with its output head by a constant, Cohere multiplies them, Gemma caps them. The constants
are read from the config; the form is the one that gives what the model's own forward pass gives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from retune.llm.packing.output_head import Head, all_logits
from retune.training.layers import decoder_of

SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier", "output_multiplier")
"""Names of what some configs multiply or divide logits by."""
PROBE_SIZES = (0.5, 2.0, 8.0, 40.0)
"""Standard deviations of the products that are tried: a cap shows in large ones alone."""
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
TOLERANCE_16_BITS = 0.02
"""Mean difference of logits, in their standard deviations, that passes as rounding."""


@torch.no_grad()
def of(model: PreTrainedModel) -> Head | None:
    """The form of a causal LM's logits.

    None where they are made in another way, or where the head carries an adapter: then only the model's own forward
    pass tells them.
    """
    layer, decoder = model.get_output_embeddings(), decoder_of(model)
    if type(layer) is not nn.Linear or decoder is model:
        return None
    products = nn.functional.linear(_states(layer), layer.weight)  # (probes, vocabulary)
    sizes = torch.tensor(PROBE_SIZES, device=products.device)[:, None]
    states = _states(layer) * (sizes / products.float().std(-1, keepdim=True)).to(products.dtype)
    wanted = _logits(model, decoder, states)
    if wanted is None:
        return None
    forms = [Head(layer.weight, layer.bias, scale, cap) for scale in _scales(model) for cap in _caps(model)]
    differences = [float(((all_logits(states, form) - wanted).abs().mean(-1) / wanted.std(-1)).max()) for form in forms]
    best = min(range(len(forms)), key=differences.__getitem__)
    return forms[best] if differences[best] <= TOLERANCE.get(layer.weight.dtype, TOLERANCE_16_BITS) else None


def _states(layer: nn.Linear) -> torch.Tensor:
    """Some hidden states (probes, width), the same in every process."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(len(PROBE_SIZES), layer.in_features, generator=random).to(layer.weight)


def _logits(model: PreTrainedModel, decoder: Any, states: torch.Tensor) -> torch.Tensor | None:
    """What the model makes of these last hidden states: float32 or wider (probes, vocabulary); None if it cannot."""
    own = decoder.__dict__.get("forward")
    decoder.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states[None])
    try:
        ids = torch.zeros((1, len(states)), dtype=torch.long, device=states.device)
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):  # it asks for more of a decoder
        return None
    finally:
        del decoder.forward
        if own is not None:
            decoder.forward = own
    return logits if logits.dtype == torch.float64 else logits.float()


def _scales(model: PreTrainedModel) -> list[float]:
    """What logits may be multiplied by."""
    config = model.config.get_text_config()
    known = [getattr(config, name, None) for name in SCALES]
    if base := getattr(config, "dim_model_base", None):
        known.append(config.hidden_size / base)
    values = [float(value) for value in known if isinstance(value, int | float) and value]
    return [1.0, *values, *(1 / value for value in values)]


def _caps(model: PreTrainedModel) -> list[float | None]:
    """What may bound logits."""
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return [None, float(cap)] if cap else [None]
