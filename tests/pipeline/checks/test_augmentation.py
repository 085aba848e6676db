"""What is refused before a build: methods that a kind rules out; and `augmented: false`, said where it is idle."""

import polars as pl
import pytest

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.declarations import resolved, write

P, D = "params.yaml", "data/catalog.yaml"
CLASSES = [
    (P, "kind: pair", "kind: classification\n    labels: [甲, 乙]"),
    (P, "    prompt: questions\n", ""),
    (D, "columns: {text_a: a, text_b: b, label: label}", "columns: {text: a, label: label}"),
    (P, "  untuned: {task: questions, learner: embedder, base: encoder, training: {epochs: 0}}\n", ""),
    (P, "  chatty:\n    task: questions\n    learner: llm\n    base: llm\n    training: {epochs: 2}\n", ""),
]
"""Edits that make the task of tests.support.declarations one of classification."""


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "augmentation: {swap: 0.5}",
            "tasks.questions.augmentation.swap: has no meaning for a task of kind classification; take it out",
        ),
        (
            "augmentation: {transitive: 0.5}",
            "augmentation.transitive: has no meaning for a task of kind classification",
        ),
        ("augmentation: {delete: {丙: 0.5}}", "tasks.questions.augmentation.delete.丙: there is no label `丙`"),
    ],
)
def test_what_the_rows_of_a_task_rule_out_is_an_error(tmp_path, section, said):
    folder = write(tmp_path, *CLASSES, (P, "    source: sample\n", f"    source: sample\n    {section}\n"))
    with pytest.raises(RetuneError, match=said.replace("{", r"\{")):
        resolve(folder)


def test_of_a_default_section_a_task_gets_what_its_kind_reads(tmp_path):
    default = (P, "lora: {", "augmentation: {swap: 0.5, delete: 0.1}\ncalibration: {threshold: accuracy}\nlora: {")
    task = resolved(write(tmp_path, *CLASSES, default))["tasks"]["questions"]
    assert task["augmentation"]["delete"] == 0.1
    assert "swap" not in task["augmentation"]
    assert set(task["calibration"]) == {"kind", "labels", "temperature"}


def test_a_task_may_have_shares_of_its_own_labels_and_a_balance(tmp_path):
    own = "    augmentation: {synonym: {甲: 0.5}, delete: 0.1}\n    split: {balance: 30}\n"
    found = resolved(write(tmp_path, *CLASSES, (P, "    source: sample\n", f"    source: sample\n{own}")))
    task = found["tasks"]["questions"]
    assert (task["augmentation"]["synonym"], task["augmentation"]["delete"]) == ({"甲": 0.5}, 0.1)
    assert task["split"]["balance"] == 30


def test_a_model_without_augmented_rows_differs_in_that_alone_and_is_warned_of_where_there_are_none(tmp_path):
    plain = (P, "  plain: {", "  bare: {task: questions, learner: linear, base: scratch, augmented: false}\n  plain: {")
    idle = resolve(write(tmp_path / "idle", plain))
    assert any("leaves augmented rows out, but tasks.questions adds none" in line for line in idle.warnings)
    used = resolve(write(tmp_path / "used", plain, (P, "lora: {", "augmentation: {swap: 0.5}\nlora: {")))
    assert not any("leaves augmented rows out" in line for line in used.warnings)
    models = used.resolved["models"]
    assert models["bare"] == models["plain"] | {"augmented": False}


def test_a_model_without_augmented_rows_is_trained_on_the_others(tmp_path, monkeypatch):
    from stages import train as stage

    seen = []

    def fit(spec, rows, *rest):
        """Notes what it is given; writes nothing."""
        seen.append(rows["id"].to_list())
        raise RetuneError("seen")

    (tmp_path / "data/splits/t").mkdir(parents=True)
    rows = pl.DataFrame({"id": ["a", "a+swap", "a+copy1"], "origin": ["original", "swap", "copy"]})
    for split in ("train", "dev"):
        rows.write_parquet(tmp_path / f"data/splits/t/{split}.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage.learners, "fit", fit)
    for augmented in ("true", "false"):
        spec = f'{{"task": "t", "base": "b", "augmented": {augmented}}}'
        text = f'{{"seed": 1, "models": {{"m": {spec}}}, "code": {{"train": {{"m": "x"}}}}}}'
        (tmp_path / "params-resolved.json").write_text(text)
        (tmp_path / "models/bases/b").mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr("sys.argv", ["train", "m"])
        with pytest.raises(SystemExit, match="seen"):
            stage.train()
    assert seen == [["a", "a+swap", "a+copy1"], ["a"]]
