"""A step's gradient is that of its whole batch, in one pass or in many: against a plain loop over single rows."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retune.data import queries
from retune.encoders import tokens
from retune.encoders.fast_dropout import Dropout
from retune.params import Params
from retune.training import batch_order, job, micro_batches, optimizer
from tests.support import encoder_fit, ranking_fit
from tests.support.ranking_fit import judged
from tests.support.tiny_encoder import pairs, tiny_encoder

pytestmark = pytest.mark.slow

ONE_STEP = {"max_steps": 1, "schedule": "constant", "warmup_ratio": 0.0, "max_grad_norm": 1e9, "epochs": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@given(
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 30)), max_size=30),
    size=st.integers(1, 200),
)
def test_each_item_is_in_one_pass_and_a_pass_exceeds_its_size_by_a_single_item_only(shapes, size):
    passes = micro_batches.within(shapes, size)
    assert sorted(place for places in passes for place in places) == list(range(len(shapes)))
    for places in passes:
        padded = sum(shapes[place][0] for place in places) * max(shapes[place][1] for place in places)
        assert padded <= size or len(places) == 1
    if shapes and sum(n for n, _ in shapes) * max(m for _, m in shapes) <= size:
        assert passes == [list(range(len(shapes)))], "what fits is not put into another order"


def of_a_step(
    monkeypatch: pytest.MonkeyPatch, fit: Any, largest: int
) -> tuple[Any, Any, list[Any], dict[str, Any], int]:
    """The job, its model before, the items of its first step, the gradient of that, and the passes that it took.

    The trainer's own: the optimiser is gradient descent at rate 1, so that the weights move by the gradient. A forward
    pass of more than `largest` tokens runs out of memory.
    """
    held: dict[str, Any] = {"passes": 0}
    run = job.run

    def noted(training: job.Job, spec: Params, *more: Any) -> Any:
        for module in training.model.modules():
            if isinstance(module, Dropout):
                module.p = 0.0  # its draws depend on the shapes of the passes
        held.update(job=training, before=copy.deepcopy(training.model))
        size = training.batch_size or spec.training.batch_size
        (first, *_) = batch_order.order(training.lengths, size, 1, spec.seed)
        held["items"] = [training.items[number] for number in first]
        encoder = training.model.encoder
        forward = encoder.forward

        def counted(input_ids: torch.Tensor, **rest: Any) -> Any:
            if torch.is_grad_enabled():
                held["passes"] += 1
                if input_ids.numel() > largest:
                    raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(input_ids=input_ids, **rest)

        encoder.forward = counted
        held["model"] = training.model
        return run(training, spec, *more)

    with monkeypatch.context() as patch:
        patch.setattr(job, "run", noted)
        patch.setattr(optimizer, "adamw", lambda trained, *_: torch.optim.SGD(list(trained.values()), lr=1.0))
        fit()
    after = dict(held["model"].named_parameters())
    moved = {
        name: (weight - after[name]).detach().double()
        for name, weight in held["before"].named_parameters()
        if weight.requires_grad
    }
    return held["job"], held["before"].eval(), held["items"], moved, held["passes"]


def compare(loss: torch.Tensor, before: Any, moved: dict[str, torch.Tensor]) -> None:
    loss.backward()
    wanted = {name: weight.grad for name, weight in before.named_parameters() if weight.grad is not None}
    far = math.sqrt(sum(float(((moved[name] - gradient) ** 2).sum()) for name, gradient in wanted.items()))
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in wanted.values()))
    assert norm > 1e-3
    assert far / norm < 1e-4


MEMORY = pytest.mark.parametrize(
    ("packed_tokens", "largest"), [(4096, 10**6), (64, 10**6), (4096, 70)], ids=["one pass", "passes", "out of memory"]
)
"""`training.packed_tokens`, and the tokens from which on memory lacks."""


@MEMORY
@pytest.mark.parametrize("learner", ["encoder", "embedder"])
@pytest.mark.parametrize(
    "options",
    [{}, {"class_weights": "balanced"}, {"name": "focal", "label_smoothing": 0.1}],
    ids=["plain", "balanced", "focal"],
)
def test_the_gradient_of_a_batch_of_texts(learner, options, packed_tokens, largest, base, tmp_path, monkeypatch):
    train = pairs(40)[5:]
    train = pl.concat([train.filter(label=1), train.filter(label=0)[:8]])  # classes of unequal sizes
    spec = encoder_fit.spec_of(options, batch_size=13, packed_tokens=packed_tokens, **ONE_STEP)
    _, before, items, moved, passes = of_a_step(
        monkeypatch, lambda: encoder_fit.fit(learner, base, tmp_path, spec, train), largest
    )
    assert passes == 1 if (packed_tokens, largest) == (4096, 10**6) else passes > 3
    items = [item[:-1] for item in items]  # behind them, what a teacher says
    labels = [item[-1] for item in items]
    counts = np.bincount(train["label"].to_numpy(), minlength=2)
    weigh = [len(train) / (2 * count) if options.get("class_weights") else 1.0 for count in counts]
    gamma, smoothing = (2.0 if options.get("name") == "focal" else 0.0), options.get("label_smoothing", 0.0)
    total = torch.zeros((), dtype=torch.float64)
    for item in items:
        logits = before(**tokens.pad(list(item[:-1]), 0))[0].double()
        p = logits.exp() / logits.exp().sum()
        for label in (0, 1):
            target = (1 - smoothing) * (label == item[-1]) + smoothing / 2
            total = total - weigh[item[-1]] * target * (1 - p[label]) ** gamma * p[label].log()
    compare(total / sum(weigh[label] for label in labels), before, moved)


@MEMORY
@pytest.mark.parametrize("name", ["ranknet", "listnet"])
def test_the_gradient_of_a_batch_of_lists(name, packed_tokens, largest, base, tmp_path, monkeypatch):
    train = judged(9).filter(torch.rand(36, generator=torch.Generator().manual_seed(0)).numpy() < 0.8)
    spec = ranking_fit.spec_of("encoder", {"reranker": name}, packed_tokens=packed_tokens, **ONE_STEP)
    _, before, items, moved, passes = of_a_step(
        monkeypatch, lambda: ranking_fit.fit(spec, base, tmp_path, train), largest
    )
    assert passes == 1 if (packed_tokens, largest) == (4096, 10**6) else passes > 5
    from retune.learners.reranker.model import encode

    rows = encode(tokens.tokenizer_of(base), train, spec.training.max_length)
    relevance, weights = queries.relevance(train), queries.weights(train)
    total, share = torch.zeros((), dtype=torch.float64), 0.0
    assert len(items) > 2
    for numbers in items:
        s = [before(**tokens.pad([rows[number]], 0))[0].double() for number in numbers]
        if name == "ranknet":
            for i, a in enumerate(numbers):
                for j, b in enumerate(numbers):
                    if (gain := relevance[a] - relevance[b]) > 0:
                        weight = gain * (weights[a] + weights[b]) / 2
                        total, share = total + weight * torch.log1p(torch.exp(s[j] - s[i])), share + weight
        else:
            target = np.exp(relevance[numbers] / 0.25) * weights[numbers]
            logs = torch.stack(s) - torch.stack(s).exp().sum().log()
            total, share = total - (torch.tensor(target / target.sum()) * logs).sum(), share + 1
    compare(total / share, before, moved)


@MEMORY
def test_the_gradient_of_a_batch_whose_documents_are_negatives_of_each_other(
    packed_tokens, largest, base, tmp_path, monkeypatch
):
    train = judged(12)
    spec = ranking_fit.spec_of(
        "embedder", {"hard": 0.3, "dimensions": [16]}, batch_size=20, packed_tokens=packed_tokens, **ONE_STEP
    )
    training, before, items, moved, passes = of_a_step(
        monkeypatch, lambda: ranking_fit.fit(spec, base, tmp_path, train), largest
    )
    assert passes == 2 if (packed_tokens, largest) == (4096, 10**6) else passes > 5
    assert any(item.negatives for item in items)
    (whole,) = training.micro_batches.split(items, items, 10**6)
    (text,), (query,) = whole["text"]["passes"], whole["query"]["passes"]
    first, second = (
        torch.stack([before(input_ids=ids[mask > 0][None], attention_mask=mask[mask > 0][None])[0].double()
                     for ids, mask in zip(part["input_ids"], part["attention_mask"], strict=True)])
        for part in (query, text)
    )  # fmt: skip
    found = []
    for width in (first.shape[1], 16):
        a, b = (side[:, :width] / side[:, :width].norm(dim=1, keepdim=True) for side in (first, second))
        cosines, relevance, mined = a @ b.T, whole["relevance"], whole["mined"]
        rows = [(q, d) for q in range(len(a)) for d in range(len(b))]
        judgements = [(q, d) for q, d in rows if not relevance[q, d].isnan()]
        weight = {(q, d): float(whole["weights"][q, d]) for q, d in judgements}
        mse = sum(weight[q, d] * (cosines[q, d] - relevance[q, d].double()) ** 2 for q, d in judgements)
        positive = [(q, d) for q, d in judgements if relevance[q, d] >= 0.5]
        contrast = torch.zeros((), dtype=torch.float64)
        for q, d in positive:
            others = [e for e in range(len(b)) if (q, e) not in positive]
            logits = torch.stack([cosines[q, e] / 0.1 for e in [d, *others]])
            contrast = contrast + weight[q, d] * (logits.exp().sum().log() - logits[0])
        gaps = [
            (0.05 - cosines[q, d] + cosines[q, e]).clamp(min=0)
            for q, d in positive
            for e in range(len(b))
            if mined[q, e]
        ]
        found.append(
            mse / len(judgements) + 0.5 * contrast / sum(weight[one] for one in positive) + 0.3 * sum(gaps) / len(gaps)
        )
    compare(sum(found) / 2, before, moved)
