"""A lack of memory: more and smaller micro-batches, the same results, said once; one clear error at a single row."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retune.encoders.fast_dropout import Dropout
from retune.errors import RetuneError
from retune.learners.reranker.fit import amount, loss
from retune.llm import generation
from retune.llm.label_scoring import label_log_probs
from retune.llm.packing.packing import PackedModel
from retune.params import Params
from retune.training import job, out_of_memory
from retune.training.micro_batches import MicroBatches
from tests.support import encoder_fit, llm_fit, ranking_fit, tiny_llm, toy_training
from tests.support.loss_curve import curve
from tests.support.ranking_fit import judged
from tests.support.tiny_encoder import pairs, tiny_encoder
from tests.support.toy_training import Toy, spec_of

pytestmark = pytest.mark.slow

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


class Small(torch.autograd.Function):
    """What fails in the backward pass for more than `rows` rows, as a real one does at its peak."""

    rows = 3
    error: Exception = ERRORS[0]

    @staticmethod
    def forward(ctx, x):
        ctx.rows = len(x)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if ctx.rows > Small.rows:
            raise Small.error
        return gradient


class Hungry(Toy):
    """The toy; its later layer has its gradient already when the backward of the first one fails."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen.requires_grad_(True)
        self.dropout.p = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.trained(Small.apply(torch.tanh(self.frozen(x))))


def trained(scratch: Path, monkeypatch, fits: int, spec: Params, error: Exception = ERRORS[0]):
    monkeypatch.setattr(Small, "rows", fits)
    monkeypatch.setattr(Small, "error", error)
    return toy_training.train(scratch, spec, model=Hungry())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_training_goes_on_in_smaller_micro_batches_to_the_same_weights(tmp_path, monkeypatch, caplog, error):
    spec = spec_of()
    ample, want = trained(tmp_path / "a", monkeypatch, 8, spec)
    with caplog.at_level(logging.WARNING, "retune"):
        scarce, got = trained(tmp_path / "b", monkeypatch, 3, spec, error)
    for one, other in zip(ample.parameters(), scarce.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    losses = [[record["loss"] for record in history if "loss" in record] for history in (want.history, got.history)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert got.resources["tokens"] == want.resources["tokens"], "a pass that failed is not counted"
    assert [line for line in caplog.messages if "memory" in line] == [
        "memory ran out in training: 4 rows in one forward pass from now on",
        "memory ran out in training: 2 rows in one forward pass from now on",
    ]
    assert want.messages == got.messages[:-1]
    assert got.messages[-1].startswith("Memory ran out in training: 2 rows in one forward pass instead of 8")


def test_a_resumed_training_keeps_the_smaller_micro_batches(tmp_path, monkeypatch, caplog):
    def stopped(model):
        if (tmp_path / "checkpoint-5").exists():
            raise KeyboardInterrupt
        return toy_training.evaluate(model)

    monkeypatch.setattr(Small, "rows", 3)
    with pytest.raises(KeyboardInterrupt):
        toy_training.train(tmp_path, model=Hungry(), evaluate=stopped)
    caplog.clear()
    _, record = toy_training.train(tmp_path, model=Hungry())
    assert not any("memory" in line for line in caplog.messages)
    assert record.messages[-1].startswith("Memory ran out in training: 2 rows in one forward pass instead of 8")


def test_a_single_row_that_does_not_fit_is_one_error_with_a_remedy(tmp_path, monkeypatch):
    with pytest.raises(
        RetuneError,
        match=r"memory ran out in training in the smallest possible forward pass: lower training.max_length",
    ):
        trained(tmp_path, monkeypatch, 0, spec_of())


def test_another_error_stays_what_it_is(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="shapes"):
        trained(tmp_path, monkeypatch, 3, spec_of(), RuntimeError("shapes do not match"))


@pytest.mark.parametrize(
    ("learner", "loss"),
    [
        ("encoder", {"class_weights": "balanced", "r_drop": 1.0}),
        ("embedder", {"name": "focal", "adversarial": "fgm"}),
    ],
    ids=["encoder", "embedder"],
)
def test_the_losses_of_the_micro_batches_of_a_batch_add_up_to_its_own(tmp_path, monkeypatch, learner, loss):
    base, run = tiny_encoder(tmp_path / "base"), job.run
    curves = []
    for size in (16, 5):

        def in_micro_batches(training, *more, size=size):
            for module in training.model.modules():
                if isinstance(module, Dropout):
                    module.p = 0.0  # its draws depend on the shapes of the micro-batches
            whole = training.micro_batches
            return run(replace(training, micro_batches=MicroBatches(whole.split, size, whole.unit)), *more)

        monkeypatch.setattr(job, "run", in_micro_batches)
        _, record = encoder_fit.fit(learner, base, tmp_path / str(size), encoder_fit.spec_of(loss))
        curves.append(curve(record))
    assert np.allclose(*curves, atol=1e-4)


@pytest.mark.parametrize("reranker", ["ranknet", "listnet"])
def test_the_losses_of_parts_of_the_queries_add_up_to_that_of_the_batch(reranker):
    random = np.random.default_rng(0)
    queries, options = torch.tensor(np.repeat(np.arange(6), 4)), Params(reranker=reranker, list_temperature=0.25)
    known = {"relevance": torch.tensor(random.integers(0, 4, 24) / 3), "weights": torch.tensor(random.random(24))}
    scores = torch.tensor(random.normal(size=24))
    whole = amount(options, **known, queries=queries)
    parts = 0.0
    for rows in (queries < 1, (queries >= 1) & (queries < 4), queries >= 4):
        own = {name: value[rows] for name, value in known.items()} | {"queries": queries[rows]}
        share = amount(options, **own) / whole
        parts += share * float(loss(scores[rows], options, **own))
    assert parts == pytest.approx(float(loss(scores, options, **known, queries=queries)))


@pytest.mark.parametrize("learner", ["encoder", "embedder"])
def test_a_ranking_model_predicts_the_same_in_smaller_batches(tmp_path, learner, monkeypatch):
    base = tiny_encoder(tmp_path / "base")
    out, _ = ranking_fit.fit(ranking_fit.spec_of(learner, epochs=1), base, tmp_path)
    predictor = ranking_fit.load(learner, out)
    want, forward = predictor.predict(judged()), type(predictor.model.encoder).forward

    def scarce(self, input_ids, **more):
        if input_ids.numel() > 60:
            raise ERRORS[0]
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(type(predictor.model.encoder), "forward", scarce)
    assert np.allclose(predictor.predict(judged())["score"], want["score"], atol=1e-5)
    assert predictor.model.limit.size <= 64


def test_an_llm_trains_in_smaller_micro_batches_to_the_same_curve(tmp_path, monkeypatch):
    base, loss = tiny_llm.tiny_llm(tmp_path / "base"), PackedModel.loss
    limit = [10**6]

    def scarce(self, batch):
        if batch.input_ids.numel() > limit[0]:
            raise ERRORS[0]
        return loss(self, batch)

    monkeypatch.setattr(PackedModel, "loss", scarce)
    spec = llm_fit.spec_of(training__epochs=2, training__batch_size=16)
    want, _ = llm_fit.fitted(spec, base, tmp_path / "ample")
    limit[0] = 100
    got, _ = llm_fit.fitted(spec, base, tmp_path / "scarce")
    assert np.allclose(curve(want, "loss", "eval_loss"), curve(got, "loss", "eval_loss"), atol=1e-4)
    assert "tokens in one forward pass instead of 4096" in got.messages[-1]


@pytest.mark.parametrize("learner", ["encoder", "embedder"])
def test_an_encoder_predicts_the_same_in_smaller_batches(tmp_path, learner, monkeypatch, caplog):
    out, _ = encoder_fit.fit(learner, tiny_encoder(tmp_path / "base"), tmp_path, encoder_fit.spec_of(epochs=1))
    predictor = encoder_fit.load(learner, out)
    frame = pairs(60)
    want = predictor.predict(frame)
    forward, sizes = type(predictor.model.encoder).forward, []

    def scarce(self, input_ids, **more):
        sizes.append(len(input_ids))
        if len(input_ids) > 10:
            raise ERRORS[0]
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(type(predictor.model.encoder), "forward", scarce)
    got = predictor.predict(frame)
    assert np.allclose(got["prob_1"], want["prob_1"], atol=1e-6)
    assert sum(size > 10 for size in sizes) == sum(line.startswith("memory ran out") for line in caplog.messages) > 1, (
        "each size is tried once"
    )
    sizes.clear()
    predictor.predict(frame)
    assert max(sizes) <= 10, "the smaller size is remembered"


def test_labels_are_scored_the_same_in_smaller_rows(monkeypatch, caplog):
    random = np.random.default_rng(0)
    prompts = [[1, 2, 3, *random.integers(5, 99, size).tolist()] for size in random.integers(4, 20, 30)]
    packed, logits = PackedModel(tiny_llm.model()), PackedModel.logits
    want = label_log_probs(packed, prompts, [[7, 8], [9]], 4)

    def scarce(self, batch):
        if batch.input_ids.numel() > 100:
            raise ERRORS[0]
        return logits(self, batch)

    monkeypatch.setattr(PackedModel, "logits", scarce)
    assert np.allclose(label_log_probs(packed, prompts, [[7, 8], [9]], 4), want, atol=1e-5)
    said = len(caplog.messages)
    assert said > 0
    assert packed.limit.size <= 128
    label_log_probs(packed, prompts, [[7, 8], [9]], 4)
    assert len(caplog.messages) == said, "the smaller size is remembered"


def test_answers_are_written_the_same_in_smaller_batches(monkeypatch):
    model = tiny_llm.model()
    prompts = [[1, 2, 3, 5 + i, *[6] * (i % 4)] for i in range(12)]
    want, write = generation.generate(model, prompts, 2, 5), generation._write_batch

    def scarce(settings, prompts, *rest):
        if len(prompts) > 5:
            raise ERRORS[0]
        return write(settings, prompts, *rest)

    monkeypatch.setattr(generation, "_write_batch", scarce)
    assert generation.generate(model, prompts, 2, 5) == want


def test_a_single_text_that_does_not_fit_is_one_error():
    def never(_rows):
        raise ERRORS[0]

    with pytest.raises(RetuneError, match="memory ran out in prediction in the smallest possible forward pass"):
        list(out_of_memory.in_batches(range(9), out_of_memory.Limit(8, "rows", "prediction"), never))
