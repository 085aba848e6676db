"""What `resolve` makes of a ranking task: its sections, its chains, and mistakes that only this kind can have."""

import pytest

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.declarations import write

P, D = "params.yaml", "data/catalog.yaml"

TASK = """\
tasks:
  search:
    kind: ranking
    source: judged
    chains: {both: {first: near, second: cross_near, candidates: 3}}
"""
MODELS = """\
models:
  words: {task: search, learner: linear, base: scratch}
  near: {task: search, learner: embedder, base: encoder, training: {epochs: 0}}
  cross_near: {task: search, learner: encoder, base: encoder, lora: {r: 2}}
"""
SOURCE = """\
judged:
  kind: sample
  license: Apache-2.0
  generator: retrieval
  tables:
    - file: pairs.json
      columns: {query: query, document: doc, relevance: rel}
sample:
"""


def project(folder, *edits):
    return write(folder, (P, "tasks:\n", TASK), (P, "models:\n", MODELS), (D, "sample:\n", SOURCE), *edits)


def test_each_learner_gets_the_sections_that_it_reads(tmp_path):
    found = resolve(project(tmp_path)).resolved
    models = found["models"]
    assert "bm25" in models["words"]
    assert "linear" not in models["words"]
    assert "lora" not in models["near"], "it is not tuned"
    assert (models["cross_near"]["lora"]["r"], models["cross_near"]["lora"]["method"]) == (2, "lora")
    assert set(models["near"]["training"]) == {"epochs", "max_length", "dev_rows"}
    assert "ranking_loss" not in models["near"]
    assert models["cross_near"]["training"]["select"] == "ndcg"
    assert models["cross_near"]["ranking_loss"] == {"reranker": "ranknet"}
    assert found["tasks"]["search"]["chains"] == {"both": {"first": "near", "second": "cross_near", "candidates": 3}}
    assert found["tasks"]["questions"]["chains"] == {}
    assert found["code"]["train"]["near"] != found["code"]["train"]["untuned"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("training: {epochs: 0}}\n  cross_near", "training: {head: probe}}\n  cross_near", "near.training.head"),
        ("base: encoder, lora: {r: 2}", "base: encoder, training: {head: probe}", "cross_near.training.head"),
    ],
)
def test_a_key_that_the_learner_ignores_is_refused(tmp_path, old, new, said):
    with pytest.raises(RetuneError, match=rf"{said}: the learner \w+ of kind \w+ does not read this key"):
        resolve(project(tmp_path, (P, old, new)))


def test_a_full_fine_tune_of_an_llm_freezes_no_layer(tmp_path):
    full = "training: {epochs: 2, freeze_layers: 1}\n    lora: {method: full}"
    with pytest.raises(RetuneError, match=r"chatty\.training\.freeze_layers: is above 0, but all weights are trained"):
        resolve(project(tmp_path, (P, "training: {epochs: 2}", full)))


def test_augmentation_of_other_kinds_is_off_and_an_own_one_is_refused(tmp_path):
    default = (
        P,
        "training: {epochs: 1",
        "split: {balance: 5}\naugmentation: {swap: {'1': 0.5}, transitive: 0.5}\ntraining: {epochs: 1",
    )
    tasks = resolve(project(tmp_path, default)).resolved["tasks"]
    assert tasks["questions"]["augmentation"]["swap"] == {"1": 0.5}
    assert set(tasks["search"]["augmentation"]) == {"kind"}
    assert tasks["questions"]["split"]["balance"] == 5
    assert "balance" not in tasks["search"]["split"]


MISTAKES = {
    "augmentation": (
        (P, "    source: judged", "    augmentation: {transitive: 0.5}\n    source: judged"),
        "tasks.search.augmentation.transitive: has no meaning for a task of kind ranking",
    ),
    "calibration": (
        (P, "    source: judged", "    calibration: {threshold: f1}\n    source: judged"),
        "tasks.search.calibration.threshold: has no meaning for a task of kind ranking",
    ),
    "balance": (
        (P, "    source: judged", "    split: {balance: oversample}\n    source: judged"),
        "tasks.search.split.balance: has no meaning for a task of kind ranking",
    ),
    "unknown model of a chain": (
        (P, "first: near", "first: nears"),
        "tasks.search.chains.both.first: there is no model `nears` of task search; did you mean `near`?",
    ),
    "a chain of one model": ((P, "second: cross_near", "second: near"), "a chain needs two models"),
    "a chain named like a model": ((P, "{both: {", "{words: {"), "is the name of a model, too"),
    "a chain of another kind": (
        (P, "    source: sample", "    chains: {c: {first: plain, second: cross, candidates: 3}}\n    source: sample"),
        "only tasks of kind ranking have chains, and questions is of kind pair",
    ),
    "no candidates": ((P, "candidates: 3", "candidates: 0"), "chains.both.candidates"),
    "section of another kind": (
        (P, "lora: {r: 2}", "loss: {name: focal}"),
        "models.cross_near.loss: the learner encoder of kind ranking does not read this section",
    ),
    "section of this kind elsewhere": (
        (P, "    loss: {name: focal}", "    ranking_loss: {margin: 0.2}"),
        "models.cross.ranking_loss: the learner encoder does not read this section",
    ),
    "unknown metric": (
        (P, "training: {epochs: 0}}\n  cross_near", "training: {epochs: 0, select: auc}}\n  cross_near"),
        "is auc, which kind ranking has not; take loss, ndcg, spearman or auto",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_place(name, tmp_path):
    edit, said = MISTAKES[name]
    with pytest.raises(RetuneError) as error:
        resolve(project(tmp_path, edit))
    assert said in str(error.value)
