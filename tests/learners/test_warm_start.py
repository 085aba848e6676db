"""A model that starts warm begins with the weights of its last version; a new label is added to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from retune import learners
from retune.learners.classifier import last_head
from retune.params import Params, loads
from tests.support import encoder_fit, llm_fit, ranking_fit, tiny_llm
from tests.support.tiny_encoder import pairs, tiny_encoder

pytestmark = pytest.mark.slow

STILL = {"learning_rate": 1e-12, "weight_decay": 0.0, "max_steps": 1}
"""A training that leaves its first weights as they are, but for rounding."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base") / "encoder")


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base") / "llm")


def fit(spec: Params, rows: pl.DataFrame, base: Path, folder: Path, last: Path | None = None) -> Path:
    out = folder / "model"
    out.mkdir(parents=True)
    (out / "spec.json").write_text(json.dumps(spec))
    learners.fit(spec, rows, rows, base, out, folder / "scratch", last)
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every trained tensor of a model's folder, by file and name."""
    return {
        f"{file.relative_to(folder)} {name}": value
        for file in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(file).items()
    }


def spec_of(learner: str, **training: Any) -> tuple[Params, pl.DataFrame]:
    """A small training of a learner, and its rows."""
    if learner.startswith("llm"):
        changes = {f"training__{key}": value for key, value in training.items()}
        method = {"lora__method": "full"} if learner == "llm, whole" else {}
        return llm_fit.spec_of(**{"training__epochs": 1, **changes, **method}), llm_fit.rows(24)
    kind, _, name = learner.partition(" ")
    if kind == "ranking":
        lora = {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}
        name, _, adapted = name.partition(", ")
        spec = ranking_fit.spec_of(name, lora=lora if adapted else None, **{"epochs": 1, **training})
        return spec, ranking_fit.judged(8)
    spec = encoder_fit.spec_of(**{"epochs": 1, **training})
    return Params(spec | {"learner": name, "kind": kind}), pairs(40)


LEARNERS = [
    "pair encoder", "pair embedder", "ranking encoder", "ranking embedder", "ranking embedder, adapted", "llm",
    "llm, whole",
]  # fmt: skip


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_training_begins_with_the_weights_of_the_last_version(learner, encoder, llm, tmp_path):
    base = llm if learner.startswith("llm") else encoder
    last = fit(*spec_of(learner), base, tmp_path / "last")
    spec, rows = spec_of(learner, **STILL)
    warm = weights(fit(spec, rows, base, tmp_path / "warm", last))
    cold, want = weights(fit(spec, rows, base, tmp_path / "cold")), weights(last)
    assert warm.keys() == want.keys()
    far = [name for name in want if not torch.allclose(warm[name], want[name], atol=1e-5)]
    assert far == []
    assert any(not torch.allclose(cold[name], want[name], atol=1e-5) for name in want), "the last version learned"


def head_of(folder: Path, labels: list[str]) -> Path:
    """A last version of these labels, whose weights are all different."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps({"labels": labels}))
    shape = {"weight": (len(labels), 4), "bias": (len(labels),)}
    save_file({name: torch.randn(*size) for name, size in shape.items()}, folder / "head.safetensors")
    return folder


def test_a_new_label_grows_the_head_and_the_others_keep_their_weights_by_name(tmp_path):
    last = head_of(tmp_path / "last", ["还款", "额度", "旧"])
    layer, want = nn.Linear(4, 4), load_file(last / "head.safetensors")
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    last_head.restore(layer, last, ["额度", "新", "还款", "更新"])
    for place, of in ((0, 1), (2, 0)):
        assert torch.equal(layer.weight[place], want["weight"][of])
        assert layer.bias[place] == want["bias"][of]
    for place in (1, 3):
        assert torch.equal(layer.weight[place], before[0][place])
        assert layer.bias[place] == before[1][place]


@pytest.mark.parametrize("head", ["probe", "random"])
def test_the_rows_of_a_new_label_are_learned(head, encoder, tmp_path):
    texts = {"还款": "还怎么", "额度": "高额度", "退款": "退吗退"}

    def rows(*labels: str) -> pl.DataFrame:
        table = [(f"{label}{n}", texts[label] + "的" * (n % 5), label) for label in labels for n in range(16)]
        return pl.DataFrame(table, schema=["id", "text", "label"], orient="row")

    def spec(*labels: str, **training: Any) -> Params:
        options = {"head": head, "select": "macro_f1", "epochs": 8, **training}
        section = {**encoder_fit.spec_of(**options), "kind": "classification", "learner": "encoder"}
        return loads(json.dumps(section | {"labels": list(labels)}))

    last = fit(spec("还款", "额度"), rows("还款", "额度"), encoder, tmp_path / "last")
    grown, three = spec("额度", "退款", "还款"), rows(*texts)
    still = Params(grown | {"training": Params(grown.training | STILL)})
    first = load_file(fit(still, three, encoder, tmp_path / "still", last) / "head.safetensors")
    had = load_file(last / "head.safetensors")
    for place, of in ((0, 1), (2, 0)):
        assert torch.allclose(first["weight"][place], had["weight"][of], atol=1e-6)
    model = learners.load(grown, fit(grown, three, encoder, tmp_path / "grown", last), encoder, grown.hardware)
    assert (model.predict(three)["label"] == three["label"]).mean() > 0.9
