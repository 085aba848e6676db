"""FGM and PGD: the shift is of the promised size, raises the loss, and leaves no trace in the model."""

from __future__ import annotations

import pytest
import torch

from retune.encoders import adversarial
from retune.encoders.objective import objective
from retune.params import Params

EPSILON = 0.5


@pytest.fixture(params=[True, False], ids=["frozen", "trained"])
def model(request):
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(20, 8)
    embedding.weight.requires_grad_(not request.param)
    return torch.nn.Sequential(
        embedding, torch.nn.Flatten(), torch.nn.Linear(40, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
    )


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randint(0, 20, (6, 5)), torch.randint(0, 2, (6,))


def attack(model, batch, method):
    ids, labels = batch
    seen = []

    def loss():
        hidden = model[0](ids)
        seen.append(hidden.detach())
        return torch.nn.functional.cross_entropy(model[1:](hidden), labels)

    if method == "fgm":
        pair = adversarial.fgm(loss, model[0], EPSILON)
    else:
        pair = adversarial.pgd(loss, model[0], EPSILON, steps=4, step_size=0.2)
    return (*pair, seen)


@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_the_attacked_loss_is_higher_and_the_shift_has_norm_epsilon(model, batch, method):
    clean, attacked, seen = attack(model, batch, method)
    assert attacked > clean
    assert adversarial.norms(seen[-1] - seen[0]).tolist() == pytest.approx([EPSILON] * 6, rel=1e-4)


def test_pgd_takes_steps_and_stays_inside_the_ball(model, batch):
    ids, labels = batch
    shifts = []

    def loss():
        hidden = model[0](ids)
        shifts.append(adversarial.norms(hidden.detach() - model[0].weight.detach()[ids]))
        return torch.nn.functional.cross_entropy(model[1:](hidden), labels)

    adversarial.pgd(loss, model[0], 0.5, steps=3, step_size=0.2)
    assert [s.max().item() for s in shifts][:2] == pytest.approx([0.0, 0.2], abs=1e-5)
    assert all(s.max() <= 0.5 + 1e-5 for s in shifts)
    assert shifts[2].max() > 0.2


def test_pgd_finds_a_loss_at_least_as_high_as_one_step_would(model, batch):
    assert attack(model, batch, "pgd")[1] >= attack(model, batch, "fgm")[1] * 0.99


@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_an_attack_leaves_weights_and_layer_as_they_were(model, batch, method):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    out = model(batch[0])
    clean, attacked, _ = attack(model, batch, method)
    (clean + attacked).backward()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert torch.equal(model(batch[0]), out)
    assert not model[0]._forward_hooks


def test_the_gradient_is_that_of_both_losses(model, batch):
    clean, attacked, seen = attack(model, batch, "fgm")
    (clean + attacked).backward()
    got = model[2].weight.grad.clone()
    model.zero_grad()
    for hidden in (seen[0], seen[-1]):
        torch.nn.functional.cross_entropy(model[1:](hidden), batch[1]).backward()
    assert torch.allclose(got, model[2].weight.grad, atol=1e-6)


def test_a_text_without_gradient_is_not_shifted(model):
    shift = torch.zeros(3, 5, 8)
    assert torch.equal(adversarial._unit(shift), shift)


def test_every_regulariser_changes_the_objective(batch):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Embedding(20, 8), torch.nn.Dropout(0.3), torch.nn.Flatten(), torch.nn.Linear(40, 2)
    )
    plain = {"name": "cross_entropy", "gamma": 2.0, "class_weights": "none", "label_smoothing": 0.0, "r_drop": 0.0}
    plain |= {"adversarial": "none", "epsilon": 1.0, "pgd_steps": 3, "pgd_step_size": 0.3}

    def value(**change):
        torch.manual_seed(3)
        loss = objective(Params(plain | change), [0, 0, 0, 1], 2, model[0], torch.device("cpu"))
        return loss(lambda: model(batch[0]), batch[1]).item()

    changes = [
        {"name": "focal"},
        {"class_weights": "balanced"},
        {"label_smoothing": 0.2},
        {"r_drop": 1.0},
        {"adversarial": "fgm"},
        {"adversarial": "pgd"},
        {"adversarial": "fgm", "r_drop": 1.0},
    ]
    values = [value(), *(value(**change) for change in changes)]
    assert len({round(v, 5) for v in values}) == len(values)
    assert value(name="focal", gamma=0.0) == pytest.approx(value())
