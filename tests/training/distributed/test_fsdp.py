"""Layers whose weights are divided: whole only while they compute, and the same numbers, in one process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.distributed.tensor import DTensor

from retune.errors import RetuneError
from retune.learners.llm.predict import load as load_llm
from retune.llm import adapter
from retune.params import Params, loads
from retune.training import hardware, out_of_memory
from retune.training.distributed import data_parallel, fsdp
from tests.support import tiny_llm
from tests.support.llm_fit import DEV, fitted, spec_of
from tests.support.loss_curve import curve

pytestmark = pytest.mark.slow

IDS = torch.tensor([[3, 5, 7, 11]])


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base"))


def offloaded(spec: Params) -> Params:
    return loads(json.dumps(spec | {"hardware": spec.hardware | {"sharding": "offload"}}))


def sharded_model(base: Path, **changes: Any) -> Any:
    """An LLM with an adapter that adds something, its layers sharded."""
    spec = offloaded(spec_of(**changes))
    chosen = hardware.choose(spec.hardware, tree_attention=True)
    model = adapter.load_base(base, spec, chosen, sharded=True)
    adapter.add(model, spec.lora, "tiny", 0, chosen)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    wanted = model.get_decoder()(IDS).last_hidden_state.detach()
    fsdp.shard(model, spec.hardware, chosen, contextlib.nullcontext())
    return model, wanted


BFLOAT16 = pytest.mark.skipif(
    not hardware.processor_flags() & {"amx_bf16", "avx512_bf16", "bf16"},
    reason="products of bfloat16 that a processor emulates round by where the weights lie",
)


def gathered(model: Any) -> int:
    """How many layers are whole."""
    return sum(
        any(not isinstance(w, DTensor) for w in layer.parameters() if not w.requires_grad)
        for layer in model.get_decoder().layers
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"training__gradient_checkpointing": True},
        pytest.param({"hardware__dtype": "bfloat16", "lora__method": "dora"}, marks=BFLOAT16),
        {"training__epochs": 0},
    ],
)
def test_one_process_trains_and_predicts_the_same_with_weights_that_wait_in_memory(
    base: Path, tmp_path: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(**{"training__epochs": 1, "training__packed_tokens": 100, **changes})
    one, want = fitted(spec, base, tmp_path / "whole")
    caplog.set_level("INFO", "retune")
    two, got = fitted(offloaded(spec), base, tmp_path / "divided")
    said = caplog.text.count("sharding offload: this process keeps 100 % of the weights")
    assert said == (2 if spec.training.epochs else 1), "to train and to predict; an untuned base is not trained"
    assert curve(one) == curve(two)
    assert want.equals(got)
    assert not data_parallel.active(), "a group of one changes nothing else"


def test_a_layer_is_whole_only_while_it_computes(base: Path) -> None:
    model, wanted = sharded_model(base)
    assert gathered(model) == 0
    seen: list[int] = []
    for layer in model.get_decoder().layers:
        layer.self_attn.register_forward_hook(lambda *_: seen.append(gathered(model)))
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            states = model.get_decoder()(IDS).last_hidden_state
        assert torch.equal(states, wanted)
        assert gathered(model) == 0
    states.sum().backward()
    assert gathered(model) == 0
    assert seen == [1] * 6
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert not any(isinstance(weight, DTensor) for weight in trained)
    assert all(weight.grad is not None for weight in trained)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_pass_that_memory_lacks_for_leaves_nothing_behind(base: Path, backwards: bool) -> None:
    model, wanted = sharded_model(base)
    once = [torch.OutOfMemoryError("CUDA out of memory")]

    def lack(_: Any, __: Any, states: torch.Tensor) -> None:
        if not backwards and once:
            raise once.pop()
        if backwards and states.requires_grad:
            states.register_hook(lack_backwards)

    def lack_backwards(_: torch.Tensor) -> None:
        if once:
            raise once.pop()

    def work() -> None:
        states = model.get_decoder()(IDS).last_hidden_state
        assert torch.equal(states, wanted)
        states.sum().backward()

    model.get_decoder().layers[1].mlp.register_forward_hook(lack)
    assert out_of_memory.run_or_oom(work) is out_of_memory.OOM
    with torch.inference_mode():
        assert torch.equal(model.get_decoder()(IDS).last_hidden_state, wanted)
    assert gathered(model) == 0
    work()
    assert gathered(model) == 0


def test_a_pass_that_others_share_is_not_cut(base: Path) -> None:
    limit = out_of_memory.Limit(4096, "tokens", "training")
    limit.fixed = True
    with pytest.raises(
        RetuneError, match=r"in a forward pass of 4096 tokens that all processes share \(hardware.sharding\)"
    ):
        limit.lower(lambda size: size)
    model, _ = sharded_model(base)
    assert fsdp.is_sharded(model)
    assert not fsdp.in_lockstep(model), "alone, a process may cut its passes"


def test_an_apple_gpu_is_refused() -> None:
    chosen = hardware.Chosen(torch.device("mps"), torch.float32, "sdpa", 1)
    with pytest.raises(
        RetuneError, match=r"hardware.sharding is offload, but an Apple GPU shares the machine's memory"
    ):
        fsdp.is_enabled(Params({"sharding": "offload"}), chosen)
    assert not fsdp.is_enabled(Params({"sharding": "full"}), chosen), "one process has nobody to divide with"


def test_a_loaded_model_is_divided_too(base: Path, tmp_path: Path) -> None:
    spec = offloaded(spec_of(training__epochs=0))
    fitted(spec, base, tmp_path)
    predictor = load_llm(tmp_path / "out", base, spec.hardware)
    assert fsdp.is_sharded(predictor.model)
    assert predictor.generate(DEV[:2])["generated"].null_count() == 0
