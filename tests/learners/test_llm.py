"""The LLM learner on tiny random models: learns, comes back from its folder, gives the same bytes twice and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from retune.errors import RetuneError
from retune.learners.llm.predict import load as load_llm
from retune.learners.llm.task_prompt import prepare
from retune.llm import adapter, reading
from retune.llm.label_scoring import label_log_probs
from retune.llm.packing import packing
from retune.llm.prompt import prompt
from retune.training import hardware, trainer
from tests.support import tiny_llm
from tests.support.llm_fit import DEV, fitted, spec_of
from tests.support.loss_curve import curve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base"))


def packed_by(model: Any, chosen: hardware.Chosen) -> Any:
    return reading.packed_by(adapter.base_of(model), chosen, [[1, 2, 3], [1, 2, 4, 5]])


def dev_loss(predictions: pl.DataFrame) -> float:
    joined = predictions.with_columns(gold=DEV["label"])
    return float(-np.log(np.where(joined["gold"] == 1, joined["prob_1"], joined["prob_0"])).mean())


@pytest.mark.parametrize("method", ["lora", "dora", "rslora", "full"])
def test_every_method_learns_and_predicts_from_its_folder(method: str, base: Path, tmp_path: Path) -> None:
    rate = 0.01 if method == "full" else 0.02  # of all weights a first step at the adapter's rate is too long
    record, predictions = fitted(spec_of(lora__method=method, training__learning_rate=rate), base, tmp_path)
    evaluations = [entry for entry in record.history if "eval_loss" in entry]
    best = min(entry["eval_loss"] for entry in evaluations)
    assert best < 0.3 < evaluations[0]["eval_loss"]
    assert predictions.columns == ["id", "label", "prob_0", "prob_1", "truncated"]
    assert predictions["id"].to_list() == DEV["id"].to_list()
    assert dev_loss(predictions) == pytest.approx(best, abs=1e-5), "what was measured is what is saved"
    weights = tmp_path / "out" / ("model.safetensors" if method == "full" else "adapter_model.safetensors")
    assert weights.exists()


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_a_bfloat16_model_predicts_what_was_measured_in_its_training(method: str, base: Path, tmp_path: Path) -> None:
    record, predictions = fitted(spec_of(lora__method=method, hardware__dtype="bfloat16"), base, tmp_path)
    best = min(entry["eval_loss"] for entry in record.history if "eval_loss" in entry)
    assert dev_loss(predictions) == pytest.approx(best, abs=1e-6), "rotary frequencies, for one, must stay in float32"


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_bases_train_and_predict(bits: int, base: Path, tmp_path: Path) -> None:
    record, predictions = fitted(spec_of(quantization__bits=bits, hardware__dtype="bfloat16"), base, tmp_path)
    best = min(entry["eval_loss"] for entry in record.history if "eval_loss" in entry)
    assert best < 0.5
    assert dev_loss(predictions) == pytest.approx(best, abs=0.02)


def test_two_trainings_give_the_same_bytes(base: Path, tmp_path: Path) -> None:
    runs = [fitted(spec_of(), base, tmp_path / name) for name in "ab"]
    first, second = ((tmp_path / name / "out/adapter_model.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert runs[0][0].history == runs[1][0].history
    assert runs[0][1].equals(runs[1][1])


def test_a_killed_training_resumes_to_the_same_bytes(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = fitted(spec_of(lora__dropout=0.1), base, tmp_path / "whole")
    save = trainer.Loop._save_checkpoint

    def killed(self: Any, *arguments: Any) -> None:
        save(self, *arguments)
        if self.state.global_step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Loop, "_save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(spec_of(lora__dropout=0.1), base, tmp_path / "killed")
    saved = next((tmp_path / "killed/scratch").glob("checkpoint-4/*.safetensors"))
    assert saved.stat().st_size < (base / "model.safetensors").stat().st_size / 2, "the frozen weights are not in it"
    (tmp_path / "killed/out/spec.json").unlink()
    (tmp_path / "killed/out").rmdir()
    resumed, _ = fitted(spec_of(lora__dropout=0.1), base, tmp_path / "killed")
    assert resumed.history == whole.history
    names = ("whole", "killed")
    weights = [(tmp_path / name / "out/adapter_model.safetensors").read_bytes() for name in names]
    assert weights[0] == weights[1]


def test_no_epochs_score_the_untuned_base(base: Path, tmp_path: Path) -> None:
    record, predictions = fitted(spec_of(training__epochs=0), base, tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["spec.json"]
    chat, plain = prepare(spec_of(), base), AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = label_log_probs(
            packing.PackedModel(plain, None), prompt.encode(chat, DEV).ids, chat.answers, chat.after_answer
        )
    assert predictions["prob_1"].to_numpy() == pytest.approx(np.exp(expected[:, 1]), abs=1e-6)
    assert record.history == [], "nothing is chosen on dev"
    assert record.resources["parameters_trained"] == 0


def test_the_adapter_names_its_base_and_no_path(base: Path, tmp_path: Path) -> None:
    fitted(spec_of(training__epochs=1, lora__method="rslora"), base, tmp_path)
    text = (tmp_path / "out/adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "tiny"
    assert (config["r"], config["use_rslora"], config["peft_type"]) == (4, True, "LORA")
    assert str(base) not in text
    assert str(tmp_path) not in text

    from peft import PeftModel  # other programs read the folder by peft itself

    chosen = hardware.choose(spec_of().hardware)
    opened = PeftModel.from_pretrained(adapter.load_base(base, spec_of(), chosen), tmp_path / "out").eval()
    chat = prepare(spec_of(), base)
    log_probs = reading.score(packed_by(opened, chosen), chat, prompt.encode(chat, DEV).ids, chosen)
    ours = load_llm(tmp_path / "out", base, spec_of().hardware).predict(DEV)
    assert np.allclose(np.exp(log_probs[:, 1]), ours["prob_1"], atol=1e-6)


def test_an_untrained_adapter_changes_nothing(base: Path) -> None:
    spec = spec_of()
    chosen = hardware.choose(spec.hardware)
    chat = prepare(spec, base)
    ids = prompt.encode(chat, DEV).ids
    plain = reading.score(packed_by(adapter.load_base(base, spec, chosen).eval(), chosen), chat, ids, chosen)
    for method in ("lora", "dora", "rslora"):
        lora = spec_of(lora__method=method).lora
        adapted = adapter.add(adapter.load_base(base, spec, chosen), lora, "tiny", 0, chosen).eval()
        assert np.allclose(reading.score(packed_by(adapted, chosen), chat, ids, chosen), plain, atol=1e-5), method


@pytest.mark.parametrize("packed_tokens", [4096, 200])
def test_the_loss_curve_lies_on_that_of_plain_batches(
    packed_tokens: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"training__epochs": 17, "training__batch_size": 16, "training__packed_tokens": packed_tokens}
    spec = spec_of(**changes, training__learning_rate=0.002)
    packed, _ = fitted(spec, base, tmp_path / "packed")
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_why_not_packed", lambda *_: "the test says so")
        plain, _ = fitted(spec, base, tmp_path / "plain")
    curves = [curve(record, "loss", "eval_loss") for record in (packed, plain)]
    assert packed.history[-1]["step"] == 51
    assert len(curves[0]) > 20
    assert curves[0][0] - curves[0][-1] > 0.1, "it learns"
    assert np.allclose(*curves, atol=1e-4)
    assert packed.resources["tokens"] < 0.8 * plain.resources["tokens"], "shared prefixes are computed once"


def test_gradient_checkpointing_changes_no_gradient(base: Path, tmp_path: Path) -> None:
    plain, _ = fitted(spec_of(training__epochs=1), base, tmp_path / "plain")
    less, _ = fitted(spec_of(training__epochs=1, training__gradient_checkpointing=True), base, tmp_path / "less")
    assert [entry.get("eval_loss") for entry in less.history] == pytest.approx(
        [entry.get("eval_loss") for entry in plain.history], abs=1e-5
    )


def test_frozen_layers_get_no_adapter_and_no_gradient(base: Path, tmp_path: Path) -> None:
    spec = spec_of(training__epochs=2, training__freeze_layers=1, training__learning_rate=0.01)
    _, predictions = fitted(spec, base, tmp_path / "upper")
    names = set(load_file(tmp_path / "upper/out/adapter_model.safetensors"))
    layers = {name.split(".layers.")[1].partition(".")[0] for name in names}
    assert layers == {"1"}
    _, untuned = fitted(spec_of(training__epochs=0), base, tmp_path / "untuned")
    assert dev_loss(predictions) < dev_loss(untuned) - 0.1, "what was trained is what is loaded"
    states: list[bool] = []
    chosen = hardware.choose(spec.hardware)
    model = adapter.load_base(base, spec, chosen)
    adapted = adapter.add(model, spec.lora, "tiny", 0, chosen, freeze_layers=1)
    for layer in model.get_decoder().layers:
        layer.register_forward_hook(lambda _module, _inputs, out: states.append(out.requires_grad))
    adapted(torch.tensor([[1, 2, 3]]))
    assert states == [False, True], "no gradient goes below the first layer with an adapter"
    with pytest.raises(RetuneError, match="freeze_layers is 2, but the model has 2 layers: at most 1"):
        adapter.add(model, spec.lora, "tiny", 0, chosen, freeze_layers=2)


def test_the_adapter_stays_in_float32_over_a_bfloat16_base(base: Path) -> None:
    spec = spec_of(hardware__dtype="bfloat16")
    chosen = hardware.choose(spec.hardware)
    adapted = adapter.add(adapter.load_base(base, spec, chosen), spec.lora, "tiny", 0, chosen)
    dtypes = {weight.requires_grad: weight.dtype for weight in adapted.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}


def test_cut_rows_are_counted_and_flagged(base: Path, tmp_path: Path) -> None:
    spec = spec_of(training__epochs=0.5, training__max_length=70)
    record, _ = fitted(spec, base, tmp_path)
    assert record.resources["truncated_rows"] == 0
    long = DEV.head(2).with_columns(text_b=pl.Series(["短", "长" * 300]))
    assert load_llm(tmp_path / "out", base, spec.hardware).predict(long)["truncated"].to_list() == [False, True]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora__targets": ["query"]}, "lora.targets"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    change: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(RetuneError, match=said):
        fitted(spec_of(**change), base, tmp_path)
