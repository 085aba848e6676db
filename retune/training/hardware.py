"""Where and how a model runs: device, dtype, attention kernel, threads; each choice is logged with its reason."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from retune.errors import RetuneError
from retune.training.distributed import data_parallel

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of two options of glibc's `mallopt`, from its malloc.h."""


@dataclass(frozen=True)
class Chosen:
    """What `choose` decided: a torch device and dtype, the attention kernel's name, and the number of CPU threads."""

    device: torch.device
    dtype: torch.dtype
    attention: str
    threads: int

    @property
    def dtype_name(self) -> str:
        """`float32`, `bfloat16` or `float16`."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def machine(self) -> dict[str, Any]:
        """What of the machine the bytes of a result can depend on; a GPU's do not on the processor beside it."""
        where: dict[str, Any] = {"device": self.device.type}
        if self.device.type == "cuda":
            where["gpu"] = torch.cuda.get_device_name(self.device)
        if self.device.type == "cpu":
            where |= {"instructions": torch.backends.cpu.get_cpu_capability(), "threads": self.threads}
        return {**where, "dtype": self.dtype_name, "attention": self.attention}


def choose(hardware: Params, tree_attention: bool = False) -> Chosen:
    """Resolve the `hardware` section; every `auto` is decided from what the machine has, never from a timing.

    So the same machine always gives the same choice, on which the bits of a training depend. Sets torch's thread count.
    `tree_attention`: attention has to follow shared prefixes (retune.llm.packing), which flash attention cannot.
    Raises `RetuneError` where the section asks for what the machine lacks.
    """
    device, why_device = _device(hardware.device)
    dtype, why_dtype = _dtype(hardware.dtype, device)
    attention, why_attention = _attention(hardware.attention, device, dtype, tree_attention)
    wanted, why_threads = _threads(hardware.threads)
    threads = max(1, wanted // data_parallel.world_size())
    if data_parallel.active():
        why_threads += f", divided among {data_parallel.world_size()} processes"
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if device.type == "cpu":
        reuse_freed_memory()
    for name, value, why in (
        ("device", device, why_device),
        ("dtype", str(dtype).removeprefix("torch."), why_dtype),
        ("attention", attention, why_attention),
        ("threads", threads, why_threads),
    ):
        log.info("%s %s: %s", name, value, why)
    return Chosen(device, dtype, attention, threads)


def reuse_freed_memory() -> None:
    """Let freed tensors' memory serve the next ones, instead of going back to the system page by page.

    glibc maps a block of more than 32 MiB anew each time, and the system zeroes its pages at the first touch: a fifth
    of a processor's time in label scoring (measured: 1.8 million page faults for 100 rows, 37 thousand so). Pages of 2
    MiB, where Linux gives them to those that ask, make a step of qwen-0.5b a tenth faster.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it first allocates
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    for option, bytes_ in ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1)):
        mallopt(option, bytes_)


def processes(hardware: Params) -> int:
    """How many processes train together; raises `RetuneError` where there are not so many devices."""
    requested, device = int(hardware.get("processes", 1)), device_type(hardware)
    if device == "cuda":
        available = torch.cuda.device_count()
        if requested > available:
            raise RetuneError(
                f"hardware.processes is {requested}, but torch sees {available} CUDA GPUs, one for each: use 0 for all "
                "of them"
            )
        return requested or available
    if device == "mps" and requested > 1:
        raise RetuneError(f"hardware.processes is {requested}, but an Apple GPU serves one process: use 1")
    return requested or 1


def gpus(count: int) -> list[str]:
    """The first CUDA GPUs that this process may see, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def device_type(hardware: Params) -> str:
    """`cpu`, `cuda` or `mps`: what `hardware.device` comes to on this machine."""
    return _device(hardware.device)[0].type


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(requested: int) -> tuple[int, str]:
    """params.yaml's number, else the environment's, else one per core."""
    if requested:
        return requested, "as params.yaml says"
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said), "as OMP_NUM_THREADS says"
    return cores(), "one per core"


def _device(requested: str) -> tuple[torch.device, str]:
    if requested == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), torch.cuda.get_device_name()
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Apple GPU, and no CUDA GPU"
        return torch.device("cpu"), "no GPU that torch can use"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[requested]:
        raise RetuneError(f"hardware.device is {requested}, but torch finds none here; use `auto` or `cpu`")
    return torch.device(requested), "as params.yaml says"


def _dtype(requested: str, device: torch.device) -> tuple[torch.dtype, str]:
    if requested != "auto":
        dtype: torch.dtype = getattr(torch, requested)
        if dtype == torch.float16 and device.type != "cuda":
            raise RetuneError(
                f"hardware.dtype float16 needs a CUDA GPU, not {device.type}; use bfloat16, float32 or auto"
            )
        return dtype, "as params.yaml says"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "GPU supports it"
        return torch.float16, "GPU has no bfloat16 units"
    if device.type == "cpu":
        units = sorted(processor_flags() & {"amx_bf16", "avx512_bf16", "bf16"})
        if units:
            return torch.bfloat16, f"processor has {', '.join(units)}"
        return torch.float32, "processor has no bfloat16 units (AMX, AVX512-BF16)"
    return torch.float32, f"the safe one on {device.type}"


def processor_flags() -> set[str]:
    """Instruction sets of the processor, as /proc/cpuinfo names them (`amx_bf16`; `bf16` on ARM); empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    listings = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return set(next(listings, "").split())


def _attention(requested: str, device: torch.device, dtype: torch.dtype, tree_attention: bool) -> tuple[str, str]:
    installed = importlib.util.find_spec("flash_attn") is not None
    half = dtype in (torch.bfloat16, torch.float16)
    if requested == "flash_attention_2":
        if not (installed and half and device.type == "cuda"):
            raise RetuneError(
                "hardware.attention flash_attention_2 needs a CUDA GPU, bfloat16 or float16, and flash-attn: use auto "
                "or sdpa"
            )
        return requested, "as params.yaml says"
    if requested != "auto":
        return requested, "as params.yaml says"
    if installed and half and device.type == "cuda" and not tree_attention:
        return "flash_attention_2", "flash-attn is installed and the GPU can run it"
    if device.type == "cpu":
        # Measured on 64 texts of 16 tokens in bfloat16: without dropout the backward takes 3 times as long as eager's.
        return "eager", "the fused backward of sdpa is slow on a processor"
    return "sdpa", "torch's own kernel, present everywhere"


def autocast(chosen: Chosen) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision for a forward pass over float32 weights; nothing for float32."""
    if chosen.dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(chosen.device.type, chosen.dtype)


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and torch, and have torch take deterministic kernels where it has them."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # fills each new tensor with NaN


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory of this process in GiB: allocated on the GPU, or resident (RSS) where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
