"""`retune doubts` from a built exploration to a file for Label Studio, and the reviewed file back into the rows."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import polars as pl
import pytest

from retune.cli.printing import visible
from retune.data.convert import convert
from retune.doubts import review
from retune.errors import RetuneError
from retune.params import loads
from stages.explore import explore
from tests.support.command_line import printed
from tests.support.stage_run import run

WORDS = {"退款": "我要退款退货", "开通": "帮我开通套餐"}
FLIPPED = "r10"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An explored task of two topics, in which the label of one row is wrong and one text is hostile."""
    folder = tmp_path_factory.mktemp("project")
    labels = list(WORDS)
    section = {"kind": "classification", "labels": labels, "doubts": 1000, "readers": []}
    tasks = {
        "intent": {"kind": "classification", "exploration": section},
        "retrieval": {"kind": "ranking", "exploration": {"kind": "ranking", "readers": []}},
        "off": {"kind": "pair", "exploration": {**section, "kind": "pair", "doubts": 0}},
    }
    resolved = {"seed": 1, "bases": {}, "models": {}, "tasks": tasks, "code": {"explore": {"intent": "0"}}}
    (folder / "params-resolved.json").write_text(json.dumps(resolved))
    table = [
        (f"r{n}", f"g{n}", f"{WORDS[labels[n % 2]]}{'<script>x</script>' if n == 10 else n % 7}", labels[n % 2])
        for n in range(60)
    ]
    frame = pl.DataFrame(table, schema=["id", "group", "text", "label"], orient="row")
    wrong = pl.when(pl.col("id") == FLIPPED).then(pl.lit("开通")).otherwise("label").alias("label")
    frame = frame.with_columns(wrong, origin=pl.lit("original"))
    (folder / "data/splits/intent").mkdir(parents=True)
    for split in ("train", "dev", "calibration", "test"):
        rows = frame if split == "train" else frame.head(4).with_columns(pl.col("id") + split)
        rows.write_parquet(folder / f"data/splits/intent/{split}.parquet")
    (folder / "data/splits/intent/summary.json").write_text(
        json.dumps({"splits": {}, "sharing": {}, "shared_groups": {}})
    )
    with contextlib.chdir(folder):
        run(explore, "intent")
    return folder


def test_the_page_shows_the_row_first_and_its_markup_as_text(project):
    page = (project / "reports/explore/intent/index.html").read_text(encoding="utf-8")
    section = page.partition('id="labels"')[2].partition("</section>")[0]
    assert "<script>" not in page
    assert section.index("&lt;script&gt;") == section.index("&lt;")
    facts = json.loads((project / "reports/explore/intent/exploration.json").read_text(encoding="utf-8"))
    assert facts["facts"][-1].startswith("Labels that may be wrong: 60 of 60 training rows were judged by ngrams")
    assert len(facts["doubts"]["shown"]) == 50


def test_only_training_rows_are_judged(project):
    table = pl.read_parquet(project / "reports/explore/intent/doubts.parquet")
    assert set(table["id"]) == {f"r{n}" for n in range(60)}


def test_rows_go_to_label_studio_and_come_back_by_id(project, tmp_path):
    out = tmp_path / "review.json"
    said = json.loads(printed(project, "doubts", "intent", "--rows", "3", "--out", str(out), "--json"))
    assert said["rows"] == 3
    tasks = json.loads(out.read_text(encoding="utf-8"))
    assert tasks[0]["data"]["row_id"] == FLIPPED
    assert out.with_suffix(".xml").read_text(encoding="utf-8").count("<Choice ") == 2
    for task in tasks:  # what a reviewer does: agrees, but for the first
        (result,) = task["predictions"][0]["result"]
        choice = "退款" if task is tasks[0] else task["data"]["label"]
        task["annotations"] = [{"was_cancelled": False, "result": [{**result, "value": {"choices": [choice]}}]}]
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "reviewed.json").write_text(json.dumps(tasks), encoding="utf-8")
    pl.read_parquet(project / "data/splits/intent/train.parquet").write_csv(raw / "rows.csv")
    columns = {"id": "id", "text": "text", "label": "label", "group": "group"}
    spec = {
        "kind": "classification", "labels": list(WORDS), "source": "s", "max_rejects": 0.0,
        "tables": [{"file": "rows.csv", "columns": columns}], "corrections": "reviewed.json",
    }  # fmt: skip
    (tmp_path / "out").mkdir()
    counts = convert(loads(json.dumps(spec)), raw, tmp_path / "out", tmp_path / "scratch", tmp_path / "visible")
    assert counts["corrections"] == {"changed": 1, "confirmed": 2, "open": 0, "disputed": 0, "absent": 0}
    rows = pl.read_parquet(tmp_path / "out/rows.parquet")
    assert rows.filter(id=FLIPPED)["label"].to_list() == ["退款"]


def test_the_list_is_for_a_terminal(project):
    lines = printed(project, "doubts", "intent", "--rows", "2").splitlines()
    assert lines[0].endswith(f"(id {FLIPPED})")
    assert " 开通 -> 退款 " in visible(lines[0])


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("intents", "no task `intents`"),
        ("retrieval", "retrieval is a ranking: wrong labels are looked for in tasks of kind classification and pair"),
        ("off", "exploration.doubts of off is 0"),
    ],
)
def test_a_task_without_doubts_is_told_why(project, task, said):
    with pytest.raises(RetuneError, match=said):
        review.read(project, task, 5)
