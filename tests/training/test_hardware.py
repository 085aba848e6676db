"""Hardware choices: by what the machine has, said with a reason, and wrong wishes refused."""

from __future__ import annotations

import logging
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from retune.errors import RetuneError
from retune.params import Params
from retune.training import hardware

AUTO = {"device": "auto", "dtype": "auto", "attention": "auto", "threads": 1, "processes": 1}
CPU = AUTO | {"device": "cpu"}


@pytest.fixture(autouse=True)
def same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [({"avx2"}, torch.float32), ({"avx512_bf16"}, torch.bfloat16), ({"amx_bf16", "avx2"}, torch.bfloat16)],
)
def test_the_number_format_follows_the_processor(monkeypatch, caplog, flags, dtype):
    monkeypatch.setattr(hardware, "processor_flags", lambda: flags)
    with caplog.at_level(logging.INFO, "retune"):
        chosen = hardware.choose(Params(CPU))
    assert chosen.dtype == dtype
    assert chosen.device.type == "cpu"
    assert f"dtype {chosen.dtype_name}: processor has " in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_freed_memory_is_not_given_back_to_the_system():
    script = (
        "import resource, sys, torch\n"
        "from retune.training import hardware\n"
        "from retune.params import Params\n"
        f"hardware.choose(Params({CPU}))\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(4):\n"
        "        torch.zeros(64 * 2**20)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(min(faults() for _ in range(8)))\n"  # glibc before 2.38 fills its heap for some rounds first
    )
    small = {**os.environ, "THP_MEM_ALLOC_ENABLE": "0"}  # with pages of 2 MiB there are few faults anyway
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=small)
    assert int(done.stdout) < 64 * 2**20 * 4 // resource.getpagesize() // 10  # a tenth of one tensor's pages


HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.slow
@pytest.mark.skipif(not HUGE.exists() or "[madvise]" not in HUGE.read_text(), reason="Linux gives such pages otherwise")
def test_tensors_get_large_pages_where_linux_gives_them_to_those_that_ask():
    script = (
        "import torch\n"
        "from retune.training import hardware\n"
        "from retune.params import Params\n"
        f"hardware.choose(Params({CPU}))\n"
        "kept = [torch.ones(2**22) for _ in range(8)]\n"
        "print(*(line for line in open('/proc/self/smaps_rollup') if line.startswith('AnonHugePages')))\n"
    )
    without = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=without)
    assert int(done.stdout.split()[1]) > 0


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="torch brings GNU's OpenMP on Linux")
def test_threads_spin_shortly_while_they_wait_unless_the_user_says_how():
    (library,) = (Path(torch.__file__).parent / "lib").glob("libgomp*")
    alone = f"import retune, ctypes; ctypes.CDLL({str(library)!r})"  # what torch loads, in a tenth of the time
    for code, wished, policy, least, most in (
        ("import retune, torch; torch.ones(2)", {}, "PASSIVE", 1, 10_000),
        (alone, {}, "PASSIVE", 1, 10_000),
        (alone, {"GOMP_SPINCOUNT": "7"}, "PASSIVE", 7, 7),
        (alone, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", 10**6, 10**12),
    ):
        names = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
        without = {name: value for name, value in os.environ.items() if name not in names}
        environment = {**without, "OMP_DISPLAY_ENV": "VERBOSE", **wished}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        said = dict(re.findall(r"(\w+) = '(\w*)'", done.stderr))
        assert said["OMP_WAIT_POLICY"] == policy, (code, wished)
        assert least <= int(said["GOMP_SPINCOUNT"]) <= most, (code, wished)


def test_each_choice_is_said_once_with_its_reason(caplog):
    with caplog.at_level(logging.INFO, "retune"):
        hardware.choose(Params(CPU | {"dtype": "float32"}))
    assert [line.split()[0] for line in caplog.messages] == ["device", "dtype", "attention", "threads"]
    assert caplog.messages[1] == "dtype float32: as params.yaml says"


def test_threads_are_set(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    hardware.choose(Params(CPU | {"threads": 2}))
    assert torch.get_num_threads() == 2
    assert hardware.choose(Params(CPU | {"threads": 0})).threads == hardware.cores()
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert hardware.choose(Params(CPU | {"threads": 0})).threads == 3
    assert hardware.choose(Params(CPU | {"threads": 2})).threads == 2


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"device": "cuda"}, "hardware.device is cuda"),
        ({"device": "cpu", "dtype": "float16"}, "float16 needs a CUDA GPU"),
        ({"device": "cpu", "attention": "flash_attention_2"}, "flash_attention_2 needs a CUDA GPU"),
    ],
)
def test_what_the_machine_lacks_is_refused(monkeypatch, wish, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RetuneError, match=said):
        hardware.choose(Params(AUTO | wish))


def test_a_gpu_is_taken_with_the_format_that_it_supports(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, answer=supported: answer)
        chosen = hardware.choose(Params(AUTO))
        assert (chosen.device.type, chosen.dtype, chosen.attention) == ("cuda", dtype, "sdpa")


def test_autocast_is_only_for_low_precision():
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        chosen = hardware.choose(Params(CPU | {"dtype": name}))
        with hardware.autocast(chosen):
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_peak_memory_grows_with_use():
    before = hardware.peak_memory_gib(torch.device("cpu"))
    big = torch.ones(2**27 // 4)  # 128 MiB
    assert hardware.peak_memory_gib(torch.device("cpu")) >= before > 0.05
    assert big.sum() > 0
