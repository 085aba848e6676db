"""The file of a stage instance in resolved/ changes exactly with what the stage reads; DVC compares these files."""

import copy

import pytest
import yaml

from retune.pipeline import reads
from retune.pipeline.reads import READS, files
from tests.support.declarations import ROOT, replace, resolved, write

pytestmark = pytest.mark.slow


def flat(resolved: dict) -> dict[str, str]:
    """STAGE.INSTANCE -> the text of its file."""
    return {
        path.removesuffix(".json").split("/", 1)[1].replace("/", "."): text for path, text in files(resolved).items()
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
    before = flat(resolved(write(tmp_path)))
    replace(tmp_path, "params.yaml", old, new)
    after = flat(resolved(tmp_path))
    assert before.keys() == after.keys()
    shown = {"report"} if any(name.startswith("train") for name in reached) else set()
    assert {name for name in before if before[name] != after[name]} == reached | shown


def test_what_a_model_writes_reaches_its_prediction_alone(tmp_path):
    made = resolved(write(tmp_path))
    other = copy.deepcopy(made)
    other["predictions"]["chatty"]["generation"] = {"thinking": True}
    before, after = flat(made), flat(other)
    assert {name for name in before if before[name] != after[name]} == {"predict.chatty"}


def test_what_a_checkpoint_tells_people_fetches_nothing_again(tmp_path):
    before = flat(resolved(write(tmp_path)))
    replace(
        tmp_path, "models/catalog.yaml", "license: MIT, repo: owner/small", "license: X, note: y, repo: owner/small"
    )
    after = flat(resolved(tmp_path))
    assert {name for name in before if before[name] != after[name]} == {"report"}


def test_the_order_of_keys_counts(tmp_path):
    made = resolved(write(tmp_path))
    other = copy.deepcopy(made)
    other["models"]["chatty"] = dict(reversed(made["models"]["chatty"].items()))
    assert flat(made)["train.chatty"] != flat(other)["train.chatty"]


def test_every_stage_of_the_pipeline_depends_on_its_own_file_and_on_no_parameter():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages.keys() == READS.keys() | {"watch", "resolve", "report"}
    for name in [*READS, "report"]:
        entry = stages[name].get("do") or stages[name]
        assert "params" not in entry
        wanted = "resolved/report.json" if name == "report" else f"resolved/{name}/${{key}}.json"
        assert [path for path in entry["deps"] if path.startswith("resolved")] == [wanted], name


def test_only_files_that_change_are_written_and_those_of_nobody_go(tmp_path):
    texts = {"resolved/train/a.json": "1\n", "resolved/split/b.json": "2\n", "resolved/report.json": "3\n"}
    reads.write(texts, tmp_path)
    old = {path: (tmp_path / path).stat() for path in texts}
    del texts["resolved/split/b.json"]
    texts |= {"resolved/report.json": "4\n", "resolved/train/new.json": "5\n"}
    reads.write(texts, tmp_path)
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.json")}
    assert {name: path.read_text() for name, path in found.items()} == texts
    assert not (tmp_path / "resolved/split").exists()
    kept = found["resolved/train/a.json"].stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (
        old["resolved/train/a.json"].st_ino,
        old["resolved/train/a.json"].st_mtime_ns,
    )
