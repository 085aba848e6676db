"""Several processes train what one would: the same curve and weights, one error, no orphan, the same resume."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from retune.encoders import transformer
from retune.errors import RetuneError
from retune.params import Params, loads
from retune.training import hardware
from retune.training.distributed import launch
from tests.support import ROOT, encoder_fit, fork_server, rank_fit, tiny_llm
from tests.support.llm_fit import fitted
from tests.support.llm_fit import spec_of as llm_spec
from tests.support.loss_curve import curve
from tests.support.tiny_encoder import pairs, tiny_encoder

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes fork; `test_a_killed_stage_leaves_no_process_behind` spawns, as a stage does."""
    monkeypatch.setattr(launch, "multiprocessing", fork_server)


def with_processes(spec: Params, count: int) -> Params:
    return loads(json.dumps(spec | {"hardware": spec.hardware | {"processes": count}}))


def test_divided_weights_train_along_the_curve_of_whole_ones(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lora, how = "dora", "offload"
    base = tiny_llm.tiny_llm(tmp_path / "base")
    changes = {"training__epochs": 2, "training__batch_size": 7, "training__learning_rate": 0.005}
    # of 100 tokens a pass, one process makes more passes than the other, for which that one has to wait
    spec = llm_spec(lora__method=lora, **changes, training__packed_tokens=100)
    one, want = fitted(spec, base, tmp_path / "one")
    divided = loads(json.dumps(spec | {"hardware": spec.hardware | {"processes": 2, "sharding": how}}))
    two, got = fitted(divided, base, tmp_path / "two")
    said = re.search(r"each of 2 processes keeps (\d+) % of the weights", capfd.readouterr().err)
    assert said is not None
    assert int(said[1]) < 90
    assert len(curve(one)) == len(curve(two)) > 5
    assert np.allclose(curve(one), curve(two), atol=1e-4)
    assert np.allclose(want["prob_1"], got["prob_1"], atol=1e-4)


def test_an_encoder_trains_along_the_curve_of_one_process(tmp_path: Path) -> None:
    learner, loss = "encoder", {"name": "focal", "class_weights": "balanced", "r_drop": 1.0, "adversarial": "fgm"}
    base = tiny_encoder(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # the processes draw their own
    (base / "config.json").write_text(json.dumps(config))
    # 64 rows: the last batch has a single one
    spec = encoder_fit.spec_of(loss, epochs=6, learning_rate=1e-3, batch_size=21, packed_tokens=100)
    folders, records = zip(
        *(
            encoder_fit.fit(learner, base, tmp_path / str(count), with_processes(spec, count), pairs(64))
            for count in (1, 2)
        ),
        strict=True,
    )
    assert records[0].history[-1]["step"] >= 20
    assert np.allclose(*map(curve, records), atol=1e-4)
    predicted = [encoder_fit.load(learner, folder).predict(pairs(30))["prob_1"] for folder in folders]
    assert np.allclose(*predicted, atol=1e-4)


def test_a_divided_optimiser_trains_all_weights_along_the_curve_of_one_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = tiny_llm.tiny_llm(tmp_path / "base")
    # 48 rows in batches of 14: the last of an epoch leaves 3 rows to each process; 200 tokens a pass
    changes = {"training__epochs": 4, "training__batch_size": 14, "training__learning_rate": 0.002}
    spec = llm_spec(lora__method="full", **changes, training__packed_tokens=200)
    one, want = fitted(spec, base, tmp_path / "one")
    divided = loads(json.dumps(spec | {"hardware": spec.hardware | {"processes": 2, "sharding": "optimizer"}}))
    two, got = fitted(divided, base, tmp_path / "two")
    said = re.search(r"this process keeps (\d+) % of the optimiser's state", capfd.readouterr().err)
    assert said is not None
    assert int(said[1]) < 60
    assert len(curve(one)) == len(curve(two)) > 5
    assert np.allclose(curve(one), curve(two), atol=1e-4)
    assert np.allclose(want["prob_1"], got["prob_1"], atol=1e-4)
    assert (one.resources["processes"], two.resources["processes"]) == (1, 2)
    assert one.messages == two.messages


def test_two_processes_resume_from_a_checkpoint_to_the_same_bytes(tmp_path: Path) -> None:
    base = tiny_encoder(tmp_path / "base")  # with dropout, whose random state each process restores
    spec = with_processes(encoder_fit.spec_of(epochs=3, patience=0), 2)
    spec = loads(json.dumps(spec | {"hardware": spec.hardware | {"sharding": "optimizer"}}))
    scratch, copied = tmp_path / "whole/scratch", tmp_path / "stopped/scratch"

    def copy_the_first() -> None:
        until((scratch / "checkpoint-4").exists)
        shutil.copytree(scratch / "checkpoint-4", copied / "checkpoint-4")

    with ThreadPoolExecutor() as beside:
        first = beside.submit(copy_the_first)
        whole, want = encoder_fit.fit("encoder", base, tmp_path / "whole", spec)
        first.result()
    assert (copied / "checkpoint-4/rank-1/rng_state.pth").exists()
    files = [copied / "checkpoint-4/optimizer.pt", copied / "checkpoint-4/rank-1/optimizer.pt"]
    states = [set(torch.load(file)["state"]) for file in files if file.exists()]
    assert len(states) == 2
    assert not set.intersection(*states), "a weight's state is in one process alone"
    resumed, got = encoder_fit.fit("encoder", base, tmp_path / "stopped", spec)
    assert got.history == want.history
    assert got.resources["tokens"] == want.resources["tokens"]
    assert (resumed / transformer.TRAINED).read_bytes() == (whole / transformer.TRAINED).read_bytes()


def test_the_processes_share_rows_gradients_and_threads(tmp_path: Path) -> None:
    found = rank_fit.start("nothing", tmp_path).resources
    assert found == {
        "weight": [0.0] * 3, "gradient": [3.0] * 3, "unused": None, "halved": [1.0] * 2, "threads": 2,
        "rows": [[0, 2, 4], [1, 3]], "sum": [3.0, 1.0],
    }  # fmt: skip
    assert "a word of 1" in (tmp_path / "ranks/1.log").read_text()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("refuse", "^this row is no row$"),
        ("fail", "^process 2 of 2 failed: ZeroDivisionError: division by zero$"),
        ("die", "^process 2 of 2 was ended by SIGKILL; that is what Linux does when memory runs out: run `dvc repro`"),
    ],
)
def test_the_error_of_one_process_is_the_one_error_of_the_stage(tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(RetuneError, match=said):
        rank_fit.start(what, tmp_path)
    assert not any(alive(int(file.read_text())) for file in tmp_path.glob("pid-*"))


def test_a_killed_stage_leaves_no_process_behind(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.support import rank_fit;"
        "rank_fit.start('hang', Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    until(lambda: len(list(tmp_path.glob("pid-*"))) == 2 and all(f.read_text() for f in tmp_path.glob("pid-*")))
    pids = [int(file.read_text()) for file in tmp_path.glob("pid-*")]
    assert all(map(alive, pids))
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, pids)), seconds=10)


def test_processes_are_one_for_each_gpu_and_refused_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"device": "cpu", "processes": 0}
    assert hardware.processes(Params(options)) == 1
    assert hardware.processes(Params(options | {"processes": 3})) == 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert hardware.processes(Params(options | {"device": "cuda"})) == 4
    assert hardware.processes(Params(options | {"device": "cuda", "processes": 2})) == 2
    with pytest.raises(RetuneError, match=r"hardware.processes is 5, but torch sees 4 CUDA GPUs"):
        hardware.processes(Params(options | {"device": "cuda", "processes": 5}))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-77,1")
    assert hardware.gpus(2) == ["3", "GPU-77"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(happened, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
