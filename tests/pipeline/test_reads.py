"""The hash of what a stage reads changes exactly with what it reads; DVC compares these hashes."""

import copy

import pytest
import yaml

from retune.pipeline.reads import READS, reads
from tests.support.declarations import ROOT, replace, resolved, write

pytestmark = pytest.mark.slow


def flat(section: dict) -> dict[str, str]:
    return {
        f"{stage}.{key}".rstrip("."): value
        for stage, found in section.items()
        for key, value in (found if isinstance(found, dict) else {"": found}).items()
    }


ALL = {"plain", "untuned", "cross", "chatty"}
TRAINED = ALL - {"plain"}
EXPLORED = "explore.questions"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "reached"),
    [
        ("lora: {r: 16}", "lora: {r: 64}", {"train.chatty"}),
        ("batch_size: 8", "batch_size: 4", {"train.cross", "train.chatty"}),
        (
            "lora: {r: 16}",
            "lora: {r: 16}\nevaluation: {limit: 5}",
            {f"{stage}.{name}" for stage in ("predict", "evaluate") for name in ALL} | {"compare.questions"},
        ),
        (
            "lora: {r: 16}",
            "lora: {r: 16}\nevaluation: {errors: 3}",
            {f"evaluate.{name}" for name in ALL},
        ),
        ("lora: {r: 16}", "lora: {r: 16}\ncalibration: {threshold: accuracy}", {f"calibrate.{name}" for name in ALL}),
        ("lora: {r: 16}", "lora: {r: 16}\nsplit: {seed: 1}", {"split.questions"}),
        ("lora: {r: 16}", "lora: {r: 16}\naugmentation: {transitive: 0.5}", {"augment.questions"}),
        (
            "lora: {r: 16}",
            "lora: {r: 16}\nhardware: {threads: 1}",
            {f"{stage}.{name}" for stage in ("train", "predict") for name in TRAINED},
        ),
        (
            "encoder: small",
            "encoder: chat",
            {"download_base.encoder", "train.untuned", "train.cross"},
        ),
    ],
)
def test_a_change_reaches_the_stages_that_read_it_and_the_report_that_shows_it(old, new, reached, tmp_path):
    before = flat(resolved(write(tmp_path))["reads"])
    replace(tmp_path, "params.yaml", old, new)
    after = flat(resolved(tmp_path)["reads"])
    assert before.keys() == after.keys()
    shown = {"report"} if any(name.startswith("train") for name in reached) else set()
    assert {name for name in before if before[name] != after[name]} == reached | shown


def test_what_a_model_writes_reaches_its_prediction_alone(tmp_path):
    made = resolved(write(tmp_path))
    other = copy.deepcopy(made)
    other["predictions"]["chatty"]["generation"] = {"thinking": True}
    before, after = flat(reads(made)), flat(reads(other))
    assert {name for name in before if before[name] != after[name]} == {"predict.chatty"}


def test_what_a_checkpoint_tells_people_fetches_nothing_again(tmp_path):
    before = flat(resolved(write(tmp_path))["reads"])
    replace(
        tmp_path, "models/catalog.yaml", "license: MIT, repo: owner/small", "license: X, note: y, repo: owner/small"
    )
    after = flat(resolved(tmp_path)["reads"])
    assert {name for name in before if before[name] != after[name]} == {"report"}


def test_the_order_of_keys_counts(tmp_path):
    made = resolved(write(tmp_path))
    other = copy.deepcopy(made)
    other["models"]["chatty"] = dict(reversed(made["models"]["chatty"].items()))
    assert reads(made)["train"]["chatty"] != reads(other)["train"]["chatty"]


def test_every_stage_of_the_pipeline_depends_on_its_two_hashes_and_on_no_other_parameter():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages.keys() == READS.keys() | {"watch", "resolve", "report"}
    for name in [*READS, "report"]:
        params = (stages[name].get("do") or stages[name])["params"]
        key = "" if name == "report" else ".${key}"
        assert params == [{"params-resolved.json": [f"reads.{name}{key}", f"code.{name}{key}"]}], name
