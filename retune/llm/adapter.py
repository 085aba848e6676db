"""The LLM behind a base folder: its frozen weights in 16, 8 or 4 bits, and the adapter (or full weights) on top.

LoRA (Hu et al. 2021), DoRA (Liu et al. 2024) and rsLoRA (Kalajdzievski 2023) are peft's; 8 bits are LLM.int8 and 4 bits
nf4 (QLoRA, Dettmers et al. 2023) of bitsandbytes, which run on the CPU too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from retune.errors import RetuneError, unknown
from retune.llm.fused import gated_mlp, lora_linear, rms_norm
from retune.training import hardware, pretrained
from retune.training.layers import decoder_of, layers_of

if TYPE_CHECKING:
    from peft import PeftModel

    from retune.params import Params
    from retune.training.hardware import Chosen

log = logging.getLogger("retune")

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def load_base(folder: Path, spec: Params, chosen: Chosen, sharded: bool = False) -> PreTrainedModel:
    """The causal LM of a Hugging Face folder; its weights in the chosen dtype, or quantised as `quantization` says.

    A full fine-tune keeps them in float32 (mixed precision is the caller's): small steps vanish in 16 bits. One that
    will be `sharded` stays in the machine's memory until it is (retune.training.distributed.fsdp), as it may be larger
    than the GPU.
    """
    whole = trained_whole(spec)
    dtype = torch.float32 if whole else chosen.dtype
    quantized = _quantized(spec.quantization, chosen)
    model = pretrained.load(AutoModelForCausalLM, folder, dtype, chosen, **quantized)
    if not whole:
        model.requires_grad_(False)
        rms_norm.fuse(model)
        gated_mlp.fuse(model)
    if sharded:
        return model
    if spec.quantization.bits == 16:
        model.to(chosen.device)
        if not whole:
            lora_linear.lay_out_weights(decoder_of(model))
        return model
    for module in model.modules():
        # bitsandbytes would repack 4-bit weights at the first evaluation and round their scales: a training that was
        # resumed after it would then go on from other weights than one that was not.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def trained_whole(spec: Params) -> bool:
    """Whether all weights are trained, without an adapter; an untuned model has no section `lora`."""
    return bool(spec.training.epochs > 0 and spec.lora.method == "full")


def _quantized(quantization: Params, chosen: Chosen) -> dict[str, Any]:
    if quantization.bits == 16:
        return {}
    if chosen.device.type == "mps":
        raise RetuneError(f"quantization.bits {quantization.bits} does not run on mps; use 16, or hardware.device cpu")
    config = BitsAndBytesConfig(load_in_8bit=True)
    if quantization.bits == 4:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=bool(quantization.double),
            bnb_4bit_compute_dtype=chosen.dtype,
        )
    return {"quantization_config": config, "device_map": {"": chosen.device}}


def add(
    model: PreTrainedModel,
    lora: Params,
    base_name: str,
    seed: int,
    chosen: Chosen,
    task: str | None = "CAUSAL_LM",
    freeze_layers: int = 0,
) -> PeftModel:
    """Put a new, seeded adapter on `model`, in float32; the base's weights are frozen.

    `task` is peft's name of what the model does; None for an encoder. The lowest `freeze_layers` layers get none, and
    no gradient is computed below the first that does. Raises `RetuneError` where `lora.targets` names no module of the
    model, and where no layer would be left.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        use_dora=lora.method == "dora",
        use_rslora=lora.method == "rslora",
        task_type=task,
        exclude_modules="|".join([*_other_towers(model), *_lowest_layers(model, freeze_layers)]) or None,
    )
    if not isinstance(lora.targets, str):
        _refuse_unknown(model, lora.targets, base_name)
    model.name_or_path = base_name  # peft writes it into the adapter's config
    hardware.make_deterministic(seed)
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        if "target" not in str(error).lower():
            raise
        raise RetuneError(f"lora.targets {lora.targets} does not fit {base_name}: {error}") from None
    _use_fused_lora(adapted, chosen)
    return adapted


def _refuse_unknown(model: PreTrainedModel, targets: Iterable[str], base_name: str) -> None:
    """Raise `RetuneError` for a target that fits no module: peft leaves one out without a word where another fits."""
    names = [name for name, _ in model.named_modules()]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            linear = {
                name.rpartition(".")[2] for name, module in model.named_modules() if hasattr(module, "in_features")
            }
            raise RetuneError(f"lora.targets: {unknown('module', target, sorted(linear), f' in {base_name}')}")


def _other_towers(model: PreTrainedModel) -> list[str]:
    """Regular expressions for the names of all modules that read images or sounds: text gives them no gradient."""
    decoder, head = decoder_of(model), model.get_output_embeddings()
    text = {id(module) for part in (decoder, head) if part is not None for module in part.modules()}
    parts = [
        name for name, module in model.named_modules() if hasattr(module, "in_features") and id(module) not in text
    ]
    towers = {".".join(name.split(".")[:2]) for name in parts}
    return [rf"{re.escape(tower)}(\..*)?" for tower in sorted(towers)]


def _lowest_layers(model: PreTrainedModel, count: int) -> list[str]:
    """Regular expressions for the names of all modules in the lowest `count` layers."""
    if not count:
        return []
    depth = model.config.get_text_config().num_hidden_layers
    if count >= depth:
        raise RetuneError(f"training.freeze_layers is {count}, but the model has {depth} layers: at most {depth - 1}")
    layers = layers_of(model)
    (name,) = [name for name, module in model.named_modules() if module is layers]
    return [rf"{re.escape(name)}\.({'|'.join(map(str, range(count)))})\..*"]


def base_of(model: Any) -> PreTrainedModel:
    """The causal LM under an adapter (or itself); the adapter's layers are in it."""
    base: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base


def mixed_precision(model: torch.nn.Module, chosen: Chosen) -> contextlib.AbstractContextManager[Any]:
    """Autocast where some float32 weight needs it; it costs about a third, and changes no bit where none does."""
    fused = {id(weight) for weight in lora_linear.weights(model)}
    has_float32 = any(weight.dtype == torch.float32 and id(weight) not in fused for weight in model.parameters())
    return hardware.autocast(chosen) if has_float32 else contextlib.nullcontext()


def save(model: PeftModel, out: Path) -> None:
    """Write the adapter's weights and config; nothing in them tells of the machine."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({name: weight.detach().cpu().contiguous() for name, weight in sorted(state.items())}, out / WEIGHTS)
    config = model.peft_config["default"]
    fields = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    fields |= {"inference_mode": True, "peft_type": "LORA", "task_type": "CAUSAL_LM"}
    (out / CONFIG).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def attach(model: PreTrainedModel, folder: Path, chosen: Chosen) -> PeftModel:
    """Put the adapter that `save` wrote on its base."""
    from peft import LoraConfig, get_peft_model

    fields = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config = LoraConfig(**{name: value for name, value in fields.items() if name != "peft_type"})
    model.name_or_path = config.base_model_name_or_path
    adapted = get_peft_model(model, config)
    restore(adapted, folder)
    _use_fused_lora(adapted, chosen)
    return adapted


def restore(adapted: PeftModel, folder: Path) -> None:
    """Give an adapter the weights that `save` wrote. Raises `RetuneError` where they are of another shape."""
    from peft import set_peft_model_state_dict

    keys = set_peft_model_state_dict(adapted, load_file(folder / WEIGHTS))
    unmatched = [name for name in keys.missing_keys if "lora_" in name] + list(keys.unexpected_keys)
    if unmatched:
        raise RetuneError(
            f"{folder / WEIGHTS} does not fit its base ({len(unmatched)} tensors, first `{unmatched[0]}`): rebuild the "
            "model"
        )


def _use_fused_lora(model: torch.nn.Module, chosen: Chosen) -> None:
    """Fuse the plain LoRA layers; in the others let autocast round the adapter, not peft widen every activation."""
    lora_linear.fuse(model)
    if chosen.dtype == torch.float32:
        return
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
