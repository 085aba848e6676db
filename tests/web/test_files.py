"""An uploaded file: the lines of `retune predict`, within limits, and nothing of it is left."""

from __future__ import annotations

import contextlib
import gzip
import html
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from retune.errors import RetuneError
from retune.web import files, results
from retune.web.files import Limits
from retune.web.results import Results
from tests.support import web_project
from tests.support.command_line import run
from tests.support.inference_project import PAIRS
from tests.support.web_project import DIMENSIONS, HOSTILE

CASES = {
    "same": (
        "sentence1,sentence2,id\n" + "".join(f"{a},{b},{i}\n" for i, (a, b) in enumerate(PAIRS)) + "花呗,,9\n",
        "",
    ),
    "topics": ("q\n帮我取消套餐\n\n我要开通流量包\n", "text=q"),
    "ranks": (
        "query,document\n花呗怎么还款,借呗\n余额宝,x\n花呗怎么还款,花呗的怎么还款\n",
        "query=query,document=document",
    ),
    "scores": ("document\n花呗\n借呗\n", "document=document"),
}


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(web_project.project())


@pytest.fixture
def kept(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def predicted(name: str, file: Path, columns: str, kept: Results, limits: Limits | None = None) -> str:
    one = web_project.model(name)
    return str(files.predict(one, str(file), columns, one.dimensions, limits or Limits(), kept, "en"))


def uploaded(folder: Path, name: str, content: str | bytes) -> Path:
    """As Gradio lays an upload: in a folder of its own."""
    file = folder / "upload" / name
    file.parent.mkdir()
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def fetched(shown: str, kept: Results, form: str) -> str:
    (token,) = re.findall(rf'href="../results/([\w-]+)/[\w-]+\.{form}"', shown)
    found = kept.find(token, form)
    assert found is not None
    return found.decode()


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    with patch.object(tempfile, "tempdir", str(temporary)):
        yield
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("name", CASES)
def test_the_downloads_are_the_lines_of_retune_predict(name: str, tmp_path: Path, kept: Results) -> None:
    content, columns = CASES[name]
    file = tmp_path / "new rows.csv"
    file.write_text(content)
    more = [word for one in columns.split(",") if one for word in ("--column", one)]
    upload = uploaded(tmp_path, file.name, content)
    with nothing_left(tmp_path):
        shown = predicted(name, upload, columns, kept)
    for form in ("csv", "jsonl"):
        assert fetched(shown, kept, form) == run(Path.cwd(), "predict", name, str(file), "--format", form, *more)[0]
    assert not upload.parent.exists()


def test_chosen_dimensions_alone_are_scored(tmp_path: Path, kept: Results) -> None:
    one, upload = web_project.model("scores"), uploaded(tmp_path, "x.csv", "document\n花呗\n")
    shown = files.predict(one, str(upload), "document=document", DIMENSIONS[1:], Limits(), kept, "en")
    assert [json.loads(line)["dimension"] for line in fetched(str(shown), kept, "jsonl").splitlines()] == DIMENSIONS[1:]


def test_what_is_too_much_or_cannot_be_read_is_said_and_removed(tmp_path: Path, kept: Results) -> None:
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sheet.xml", b"0" * 30 * 2**20)
    rows = CASES["same"][0]
    for name, content, columns, limits, said in (
        ("x.csv", rows, "", Limits(rows=4), "x.csv has more than the 4 records that are predicted here (--max-rows)"),
        ("x.csv", "x" * 2**20, "", Limits(size=0.5), "x.csv has 1.0 MiB, more than the 0.5"),
        ("x.xlsx", bomb.read_bytes(), "", Limits(size=1), "x.xlsx is compressed or unpacks to too much"),
        ("x.csv", gzip.compress(rows.encode()), "", Limits(), "x.csv is compressed"),
        ("x.csv", rows, "text_a", Limits(), "text_a: write it as NAME=FIELD"),
        ("x.csv", "a,b\n1,2\n", "", Limits(), "Say under Columns where they are: text_a=..., text_b=..."),
        ("<b>.csv", "sentence1,sentence2\n,\n", "", Limits(), "no record of <b>.csv can be predicted"),
        ("x.csv", "sentence1,sentence2\n,\n", "", Limits(), "or give under Columns NAME=FIELD"),
    ):
        upload = uploaded(tmp_path, name, content)
        with pytest.raises(RetuneError, match=re.escape(said)) as raised, nothing_left(tmp_path):
            predicted("same", upload, columns, kept, limits)
        assert str(tmp_path / "temporary") not in str(raised.value)
        assert not upload.parent.exists()
    with pytest.raises(RetuneError, match="no longer here"):
        predicted("same", tmp_path / "upload/x.csv", "", kept)
    assert list(kept.folder.iterdir()) == []


def test_names_fields_and_texts_of_a_file_are_shown_as_text(tmp_path: Path, kept: Results) -> None:
    rows = [{"id": HOSTILE, "text": "帮我取消套餐"}, {"id": "2", "text": ""}]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    shown = predicted("topics", uploaded(tmp_path, "<i>x.jsonl", content), "text=text", kept)
    assert "<img" not in shown
    assert "<i>x" not in shown
    assert HOSTILE[:50] in html.unescape(shown)


def test_typed_texts_are_no_formulas_to_a_spreadsheet_and_old_results_go(
    kept: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = results.as_lines([{"document": "=1+1", "score": -1.5}, {"document": "a=1", "score": 2.0}])
    token = kept.keep(lines, "x", typed=True)["csv"].split("/")[2]
    assert kept.find(token, "csv") == b"document,score\n'=1+1,-1.5\na=1,2.0\n"
    assert kept.find(token, "jsonl") == lines.encode()
    assert pl.read_ndjson(lines.encode())["document"][0] == "=1+1"
    assert kept.find("other", "csv") is None
    assert kept.find(token, "exe") is None
    monkeypatch.setattr(results, "KEPT", -1.0)
    assert kept.find(token, "csv") is None
    assert list(kept.folder.iterdir()) == []
