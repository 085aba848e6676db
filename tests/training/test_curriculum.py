"""A curriculum: stages that each begin where the one before ended, on their own dimensions and share of the groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retune.errors import RetuneError
from retune.learners.llm.predict import load as load_llm
from retune.training import curriculum, dvclive_log, trainer
from tests.support import tiny_llm
from tests.support.llm_fit import fit
from tests.support.reasoning_fit import ALONE, companies, scoring

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base"))


STAGES = [
    {"name": "basic", "dimensions": ["growth"], "epochs": 2.0, "data_ratio": 0.5},
    {"name": "all", "dimensions": ["growth", "market"], "epochs": 1.5, "data_ratio": 1.0},
]


def test_a_curriculum_keeps_each_stages_metrics_and_starts_from_the_one_before(base: Path, tmp_path: Path) -> None:
    spec = scoring(curriculum=STAGES, training__epochs=3.5, training__thinking=False, training__select="mae")
    record = fit(spec, base, tmp_path, companies(48), companies(16))
    assert [stage["name"] for stage in record.stages] == ["basic", "all"]
    first, second = record.stages
    assert first["rows"] < 24 < second["rows"] == 48
    assert set(first["metrics"]) == {"loss", "mae", "spearman"}
    steps = [entry["step"] for entry in record.history if "eval_mae" in entry]
    assert steps == sorted(set(steps))
    ends = [max(entry["step"] for entry in record.history if entry["stage"] == number) for number in (1, 2)]
    assert first["step"] <= ends[0] < second["step"] <= ends[1]
    assert record.history[-1]["epoch"] == pytest.approx(3.5, abs=0.1)
    assert record.messages[0].startswith("Stage basic (growth, 50% of the groups; 2 epochs, ")
    predicted = load_llm(tmp_path / "out", base, spec.hardware, ALONE).predict(companies(16))
    mae = np.abs(predicted["score"].to_numpy() - companies(16)["score"].to_numpy()).mean()
    assert mae == pytest.approx(second["metrics"]["mae"], abs=1e-5), "the model is the last stage's"
    changes = {"training__thinking": False, "training__select": "mae"}
    last = scoring(curriculum=STAGES[1:], training__epochs=1.5, **changes)
    alone = fit(last, base, tmp_path / "alone", companies(48), companies(16))
    key = "eval_loss"
    assert next(e[key] for e in alone.history if key in e) != pytest.approx(
        next(e[key] for e in record.history if key in e and e["stage"] == 2)
    ), "the first stage has left its weights"
    dvclive_log.write(record, tmp_path / "record")
    assert json.loads((tmp_path / "record/stages.json").read_text()) == record.stages


def test_stages_take_nested_shares_of_whole_groups() -> None:
    rows = companies(200)
    taken = []
    for ratio in (0.2, 0.6, 1.0):
        stage = {"name": "a", "dimensions": ["growth", "market"], "epochs": 1.0, "data_ratio": ratio}
        (found,) = curriculum.phases(scoring(curriculum=[stage]), rows)
        assert found.rows["group"].value_counts()["count"].to_list() == [2] * found.rows["group"].n_unique()
        taken.append(set(found.rows["id"]))
    assert taken[0] < taken[1] < taken[2] == set(rows["id"])
    (only,) = curriculum.phases(scoring(train_dimensions=["market"]), rows)
    assert set(only.rows["dimension"]) == {"market"}


def test_a_stage_without_rows_is_refused() -> None:
    with pytest.raises(RetuneError, match="stage all of the curriculum has no training row: growth, market"):
        curriculum.phases(scoring(curriculum=STAGES[1:]), companies(0))


@pytest.mark.parametrize("stage", [1, 2])
def test_a_curriculum_resumes_after_a_kill_to_the_same_bytes(
    stage: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scoring(curriculum=STAGES, training__epochs=3.5, training__eval_steps=2, lora__dropout=0.1)
    rows, dev = companies(48), companies(8)
    whole = fit(spec, base, tmp_path / "whole", rows, dev)
    save = trainer.Loop._save_checkpoint

    def killed(self: Any, *arguments: Any) -> None:
        save(self, *arguments)
        if self.scratch.name == f"stage-{stage}" and self.state.global_step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Loop, "_save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(spec, base, tmp_path / "killed", rows, dev)
    resumed = fit(spec, base, tmp_path / "killed", rows, dev)
    assert resumed.history == whole.history
    assert resumed.stages == whole.stages
    weights = [(tmp_path / name / "out/adapter_model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
