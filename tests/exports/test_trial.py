"""The trial of docs/exports.md: exports in an empty folder, opened by a bare environment, answer as the report."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest

from retune import learners, params
from retune.exports.protocol import PLAIN
from tests.support import ROOT, bare_environment, exported

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/exports.md").read_text(encoding="utf-8")
PACKAGES = re.findall(r"pip install (.*)", PAGE)[0].split()
TRIED = ("pooler", "linear text", "reranker")
PLACES = ("predictions", "splits", "calibrations")


def script(name: str) -> str:
    """A script of the page, which begins with its name."""
    (found,) = re.findall(rf'```python\n("""{re.escape(name)}: .*?)```', PAGE, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What report_answers.py writes in a project of three built models and their exports."""
    project, kinds = tmp_path_factory.mktemp("project"), exported.kinds()
    for name in TRIED:
        spec, rows, fitted, pooler = kinds[name]
        predictions, splits, calibrations = (project / f"data/{one}/{name}" for one in PLACES)
        for place in (project / "models" / name, predictions / name, splits, calibrations, project / "exports"):
            place.mkdir(parents=True, exist_ok=True)
        spec = params.loads(json.dumps(spec | {"task": name}))
        built = exported.model(project / "models" / name, spec, rows, fitted, pooler)
        predicted = learners.load(built.spec, built.folder, built.base, PLAIN).predict(rows)
        predicted.reverse().write_parquet(predictions / name / "calibration.parquet")
        rows.write_parquet(splits / "calibration.parquet")
        (calibrations / f"{name}.json").write_text(json.dumps(fitted))
        exported.export(dataclasses.replace(built, name=name), project / "exports" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        exec(script("report_answers.py"), {})
    return project / "elsewhere"


def test_the_folders_answer_alone_as_the_report_did_and_another_report_is_refused(there, tmp_path, monkeypatch):
    bare = bare_environment.make(tmp_path / "bare", PACKAGES)
    code = "from importlib.util import find_spec; print(*map(find_spec, ('retune', 'polars', 'dvc')))"
    asked = subprocess.run([bare, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "None None None\n"
    (there / "trial.py").write_text(script("trial.py"), encoding="utf-8")
    done = subprocess.run([bare, "-I", "trial.py"], cwd=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ") for line in done.stdout.splitlines())
    assert said.keys() == set(TRIED)
    for name, text in said.items():
        rows, apart, *labels = text.split(", ")
        assert float(apart.rpartition(" ")[2]) < 1e-5
        assert labels == ([] if name == "reranker" else [f"{rows.removesuffix(' rows')} with the same label"])

    for name in ("linear text", "pooler"):
        (there / "exports" / name).rename(there / name)
    report = json.loads((there / "reranker.json").read_text())
    report["answers"] = [[score + 0.1 for score in row] for row in report["answers"]]
    (there / "reranker.json").write_text(json.dumps(report))
    monkeypatch.chdir(there)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)  # found.json holds the reranker's answers, the last
    with pytest.raises(AssertionError, match="more than the rounding of a report"):
        exec(script("trial.py"), {})


def test_no_row_of_the_data_is_in_an_exported_folder(there):
    for name in TRIED:
        rows = json.loads((there / f"{name}.json").read_text())["rows"]
        files = [path for path in there.rglob(f"{name}/*") if path.suffix in (".json", ".md", ".py", ".txt")]
        assert len(files) >= 3
        for file in files:
            text = file.read_text(encoding="utf-8")
            assert not [value for row in rows for value in row.values() if value in text or ascii(value)[1:-1] in text]
