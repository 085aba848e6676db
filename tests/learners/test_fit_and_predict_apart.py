"""What only predicts is in no training's fingerprint, and what only trains in no prediction's, for every learner."""

from __future__ import annotations

import pytest

from retune import learners
from retune.pipeline.fingerprint import Code, roots
from tests.support import ROOT

PACKAGES = sorted({package for kinds in learners.MODULES.values() for package in kinds.values()})
TRAINING_ONLY = (
    "retune.encoders.adversarial",
    "retune.encoders.linear_probe",
    "retune.encoders.losses",
    "retune.encoders.model_card",
    "retune.encoders.objective",
    "retune.encoders.ranking_losses",
    "retune.encoders.sentence_transformers_folder",
    "retune.evaluation.dev_metrics",
    "retune.evaluation.ranking_dev_metrics",
    "retune.llm.sft_loss",
    "retune.training.batch_order",
    "retune.training.checkpoint_choice",
    "retune.training.curriculum",
    "retune.training.distributed.launch",
    "retune.training.distributed.zero1",
    "retune.training.job",
    "retune.training.micro_batches",
    "retune.training.optimizer",
    "retune.training.record",
    "retune.training.trainer",
)
PREDICTION_ONLY = ("retune.llm.generation", "retune.llm.predictor", "retune.sources.chat_api")


@pytest.fixture(scope="module")
def code() -> Code:
    return Code(ROOT)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_prediction_reaches_nothing_of_the_training(package: str, code: Code) -> None:
    reached = code.closure([f"retune.learners.{package}.predict"])
    assert not {name for name in reached if name.endswith(".fit")}
    assert not set(reached) & set(TRAINING_ONLY)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_training_reaches_nothing_that_only_predicts(package: str, code: Code) -> None:
    reached = code.closure([f"retune.learners.{package}.fit"])
    assert not {name for name in reached if name.endswith(".predict")}
    assert not set(reached) & set(PREDICTION_ONLY)


def test_the_lists_name_modules_that_there_are_and_that_some_learner_reaches(code: Code) -> None:
    parts = {part: code.closure([f"retune.learners.{p}.{part}" for p in PACKAGES]) for part in ("fit", "predict")}
    assert set(TRAINING_ONLY) <= set(parts["fit"])
    assert set(PREDICTION_ONLY) <= set(parts["predict"])


def test_the_stages_start_from_the_two_parts() -> None:
    entry = {"learner": "llm", "kind": "ranking"}
    assert "retune.learners.llm_reranker.fit" in roots("train", entry)
    assert "retune.learners.llm_reranker.predict" in roots("predict", entry)
