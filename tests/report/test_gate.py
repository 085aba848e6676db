"""`retune gate`: two revisions of a project, by what Git and DVC keep of them."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
import yaml
from sklearn.metrics import f1_score

from retune.errors import RetuneError
from retune.pipeline.fingerprint import Code
from retune.report import gate, gate_words, revisions, row_changes
from retune.report.gate import Gate
from tests.support import ROOT
from tests.support.command_line import run
from tests.support.gate_project import KINDS, Project, made_up

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A task of pairs with two models, committed on main; a change of it is not written yet."""
    found = Project(tmp_path / "project")
    found.task("same", "pair")
    found.model("plain", "same", 1.2)
    found.model("other", "same", 1.2, seed=4)
    found.commit()
    return found


def compared(project: Project, base: str = "main", head: str | None = None) -> Gate:
    """The gate of what is written into the folder, of what lies there (""), or of another revision, against a base."""
    if head is None:
        project.write()
    with ExitStack() as opened:
        return gate.compare(*(revisions.at(project.folder, name, opened) for name in (base, head or None)))


def verdicts(found: Gate) -> dict[str, str]:
    return {one.model: one.change.verdict if one.change else one.reason for one in found.compared}


@pytest.mark.parametrize(
    ("kind", "levels"),
    [("pair", (0.2, 1.2)), ("classification", (0.3, 1.6)), ("ranking", (0.3, 1.6)), ("scoring", (0.1, 0.8))],
)
def test_a_gain_a_loss_and_what_did_not_change_are_told_of_every_kind(tmp_path, kind, levels):
    project = Project(tmp_path / "project")
    project.task("task", kind)
    for model, strength in (("gains", levels[0]), ("loses", levels[1]), ("stays", levels[0])):
        project.model(model, "task", strength)
    base = project.commit()
    project.model("gains", "task", levels[1], seed=1)
    project.model("loses", "task", levels[0], seed=1)
    found = compared(project, base)
    assert verdicts(found) == {"gains": "better", "loses": "worse", "stays": "unchanged"}
    assert [one.model for one in found.regressions] == ["loses"]


def test_each_revision_has_its_own_threshold(project):
    rows = project.files["data/splits/same/test.parquet"]
    project.model("plain", "same", 1.2, threshold=0.7)
    positive = project.files["data/predictions/same/plain/test.parquet"]["prob_1"].to_numpy()
    change = compared(project).compared[0].change
    assert change.before == pytest.approx(f1_score(rows["label"], positive >= 0.5))
    assert change.after == pytest.approx(f1_score(rows["label"], positive >= 0.7))


def test_rows_are_common_by_id_and_text_and_the_others_are_counted(project):
    rows = made_up("pair", 340)[40:]  # 40 are gone, 40 are new
    texts = pl.when(pl.col("id") == "row-50").then(pl.lit("other words")).otherwise("text_a").alias("text_a")
    label = pl.when(pl.col("id") == "row-60").then(1 - pl.col("label")).otherwise("label").cast(pl.Int8).alias("label")
    old = project.files["data/splits/same/test.parquet"]
    known = old.filter(pl.col("id").is_in(rows["id"].to_list()))
    project.task("same", "pair", pl.concat([known, rows.tail(40)]).with_columns(texts, label))
    for model, seed in (("plain", 0), ("other", 4)):
        project.model(model, "same", 0.6, seed)
    found = compared(project)
    assert vars(found.compared[0].rows) == {
        "common": 259, "groups": 130, "only_before": 41, "only_after": 41, "relabelled": 1,
    }  # fmt: skip
    said = gate_words.markdown(found)
    assert "same: 259 test rows in common; not compared: 41 that only the base has, 41 that are new; 1 rows" in said
    shown = project.files["data/predictions/same/plain/test.parquet"].join(known.select("id"), on="id")
    shown = shown.filter(pl.col("id") != "row-50").join(rows_of(project).select("id", "label"), on="id")
    assert found.compared[0].change.after == pytest.approx(f1_score(shown["label"], shown["prob_1"] >= 0.5))


def rows_of(project: Project) -> pl.DataFrame:
    return project.files["data/splits/same/test.parquet"]


def test_another_split_without_a_row_in_common_can_not_be_compared(project):
    rows = made_up("pair", 100).with_columns((pl.lit("new-") + pl.col("id")).alias("id"))
    project.task("same", "pair", rows)
    project.model("plain", "same", 0.6)
    found = compared(project)
    assert verdicts(found)["plain"] == "no test row in common (300 of main, 100 now)"
    assert found.regressions == []
    assert "Can't be compared: plain: no test row in common" in gate_words.markdown(found)
    assert gate_words.numbers(found)["models"][0]["verdict"] == "not compared"


def test_new_removed_and_renamed_models_and_tasks_are_told(project):
    project.task("second", "pair")
    project.model("third", "second", 1.0)
    base = project.commit()
    project.forget("other")
    project.model("extra", "same", 0.9)
    plain = project.models["plain"]
    project.forget("plain")
    project.models["simple"] = plain
    project.model("simple", "same", 1.2)
    project.tasks["next"] = project.tasks.pop("second")
    project.files = {path.replace("/second/", "/next/"): content for path, content in project.files.items()}
    project.models["third"]["task"] = "next"
    found = compared(project, base)
    assert [(one.was, (one.task, one.model)) for one in found.compared] == [
        (("same", "plain"), ("same", "simple")),
        (("second", "third"), ("next", "third")),
    ]
    assert (found.new, found.removed) == ([("same", "extra")], [("same", "other")])
    said = gate_words.markdown(found)
    for words in ("simple (was plain)", "third (was second: third)", "New: extra.", "Removed: other."):
        assert words in said


def test_labels_may_be_added_and_none_may_go(tmp_path):
    project = Project(tmp_path / "project")
    project.task("topics", "classification")
    project.model("plain", "topics", 1.0)
    base = project.commit()
    labels = ["新的", *project.tasks["topics"]["labels"]]
    for section in (project.tasks["topics"], project.tasks["topics"]["evaluation"]):
        section["labels"] = labels
    path = "data/predictions/topics/plain/test.parquet"
    old = project.files[path]
    project.files[path] = old.select(
        "id", prob_0=pl.lit(0.0), **{f"prob_{i + 1}": pl.col(f"prob_{i}") for i in range(3)}
    )
    assert verdicts(compared(project, base)) == {"plain": "unchanged"}
    gone = project.commit()
    for section in (project.tasks["topics"], project.tasks["topics"]["evaluation"]):
        section["labels"] = [labels[0], "`**@all**`", *labels[2:]]
    found = compared(project, gone)
    assert verdicts(found) == {"plain": f"1 labels of {gone} are gone, first `{labels[1]}`"}
    assert "@all" not in gate_words.markdown(found)


def test_the_tolerance_forgives_a_loss_and_its_change_is_told(project):
    project.model("plain", "same", 0.5, seed=1)
    found = compared(project)
    assert [one.model for one in found.regressions] == ["plain"]
    assert "## Regression: plain is shown to be worse" in gate_words.markdown(found)
    project.gate = {"same": {"metric": "auc", "worse_by": 0.3}}
    found = compared(project)
    assert found.regressions == []
    said = gate_words.markdown(found)
    assert "## No regression is shown" in said
    assert "worse; a loss beyond the tolerance of 0.3 is excluded" in said
    assert "The tolerance of same changes with this: auc by 0.3; main has f1 by 0." in said
    project.gate = {"same": {"metric": "acc"}}
    with pytest.raises(RetuneError, match=r"gate\.same\.metric: there is no metric `acc`; did you mean `auc`"):
        compared(project)


def test_predictions_come_from_the_remote_where_the_cache_has_none(project):
    remote = project.folder.parent / "remote"
    (project.folder / ".dvc/config").write_text('[core]\n    remote = team\n[remote "team"]\n    url = ../../remote\n')
    shutil.move(project.folder / ".dvc/cache", remote)
    project.model("plain", "same", 2.5, seed=1)
    with ExitStack() as opened:
        before = revisions.at(project.folder, "main", opened)
        kept = (
            before.json("data/calibrations/same/plain.json"),
            before.table("data/predictions/same/plain/test.parquet"),
        )
    assert kept[0]["threshold"] == 0.5
    assert len(kept[1]) == 300
    assert verdicts(compared(project)) == {"plain": "better", "other": "unchanged"}
    shutil.rmtree(remote)
    shutil.rmtree(project.folder / ".dvc/cache")
    with pytest.raises(
        RetuneError, match=r"neither in DVC's cache nor in a remote that .*check main out, run `dvc repro`"
    ):
        compared(project)


def test_the_command_compares_two_commits_and_its_exit_code_tells(project):
    base = project.git("rev-parse", "HEAD").strip()
    project.git("checkout", "-q", "-b", "branch")
    project.model("plain", "same", 0.4, seed=1)
    project.commit("worse")
    shutil.rmtree(project.folder / "data")  # what is checked out does not matter
    options = ("--base", base, "--head", "branch")
    said, _ = run(project.folder, "gate", *options, fails=True)
    assert said.startswith("## Regression: plain is shown to be worse")
    found = json.loads(run(project.folder, "gate", *options, "--json", fails=True)[0])
    assert found["regressions"] == 1
    assert [(one["model"], one["verdict"]) for one in found["models"]] == [("plain", "worse"), ("other", "unchanged")]
    assert found["models"][0]["difference"] == pytest.approx(found["models"][0]["after"] - found["models"][0]["before"])
    assert "No regression" in run(project.folder, "gate", "--base", "branch", "--head", "branch")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--base", "mian", "--head", "main"), "Git knows no revision `mian` here"),
        (("--base", "empty", "--head", "main"), "empty has no params-resolved.json, so nothing is known to be built"),
        (("--base", "--version", "--head", "main"), "Git knows no revision `--version` here"),
    ],
)
def test_what_can_not_be_compared_is_one_error_of_its_own_exit_code(project, arguments, message):
    project.git("checkout", "-q", "--orphan", "empty")
    project.git("rm", "-q", "-rf", "--cached", ".")
    project.git("commit", "-q", "--allow-empty", "-m", "empty")
    said = run(project.folder, "gate", *arguments, fails=True)
    assert said[0] == ""
    assert said[1].startswith("retune: ")
    assert message in said[1]


@pytest.mark.parametrize(
    "older",
    [
        {"deps": [{"path": "resolved/predict/plain.json", "md5": "of another model"}]},
        {"deps": [{"path": "data/splits/same", "md5": "of another split"}]},
    ],
)
def test_what_was_not_rebuilt_is_an_error_here_and_a_note_of_another_revision(project, older):
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    lock["stages"]["predict@plain"] |= older
    (project.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(RetuneError, match=r"not rebuilt .*: plain \(predict@plain\); run `dvc repro`"):
        compared(project, head="")
    project.git("commit", "-q", "-am", "an older lock")
    found = compared(project, head="HEAD")
    assert [note for note in found.notes if "was not rebuilt after its last change" in note]


def test_outputs_of_another_branch_that_still_lie_here_are_not_taken(project):
    project.model("plain", "same", 0.4, seed=1)
    project.write()
    kept = (project.folder / "data/predictions/same/plain/test.parquet").read_bytes()
    project.git("checkout", "-q", "-f", "main")
    assert (project.folder / "data/predictions/same/plain/test.parquet").read_bytes() == kept
    assert verdicts(compared(project, head="")) == {"plain": "unchanged", "other": "unchanged"}


def test_a_base_that_has_moved_on_is_told(project):
    project.git("checkout", "-q", "-b", "branch")
    project.git("checkout", "-q", "main")
    project.git("commit", "-q", "--allow-empty", "-m", "later")
    found = compared(project, head="branch")
    assert any(note.startswith("main has 1 commits that branch") for note in found.notes)


def test_it_needs_no_torch():
    code = Code(ROOT)
    modules = code.closure(["retune.report.gate_words", *(f"retune.evaluation.kinds.{kind}" for kind in KINDS)])
    assert not {"torch", "transformers", "scikit-learn"} & set(code.versions(modules))


def test_rows_that_are_new_since_the_base_are_told_by_split_and_label(project):
    rows = made_up("pair").with_columns(origin=pl.lit("original"))
    test, train = "data/splits/same/test.parquet", "data/splits/same/train.parquet"
    project.files |= {test: rows.head(200), train: rows.slice(200, 50)}
    for split in ("dev", "calibration"):
        project.files[f"data/splits/same/{split}.parquet"] = rows.head(0)
    project.commit()
    assert not any("Since" in note for note in compared(project).notes)
    project.git("checkout", "-q", "-b", "branch")
    positive = rows.slice(250).filter(pl.col("label") == 1)
    project.files |= {train: pl.concat([rows.slice(201, 49), positive])}
    said = [note for note in compared(project).notes if note.startswith("same: ")]
    gone = rows["label"][200]
    assert said == [
        f"same: Since main: {len(positive)} new rows, 1 gone; 249 as before, in the same splits. "
        f"New rows by label: train 1 {len(positive)}. Gone rows by label: train {gone} 1"
    ]
    assert said[0] in gate_words.markdown(compared(project))
    shutil.rmtree(project.folder / ".dvc/cache")
    with ExitStack() as opened:
        before, after = (revisions.at(project.folder, name, opened) for name in ("main", None))
        (lost,) = row_changes.notes(before, after)
    assert lost.startswith("same: which rows are new can't be told: main")
