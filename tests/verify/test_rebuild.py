"""`retune verify`: the same bytes, or what differs; nothing in the project changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retune.errors import RetuneError
from retune.verify import copy, rebuild, words
from retune.verify.rebuild import Verified
from tests.support import ROOT, small_models, tiny_pipeline

pytestmark = pytest.mark.slow

RANDOM = "\n    write(f'models/{name}/weights.json', {'sum': int.from_bytes(os.urandom(7), 'big')})\n"
ONE = [f"{stage}@one" for stage in ("train", "predict", "calibrate", "evaluate")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, built once; copy it before a change."""
    folder = tmp_path_factory.mktemp("verify") / "project"
    small_models.build(folder)
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the test's own, in whose environment its commands are found."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Path(shutil.copytree(built, tmp_path / "project"))


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of each file, but for our state and DVC's locks and memory."""
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    left_out = (".retune/", ".dvc/tmp/", ".git/")
    return {
        name: (file.read_bytes(), file.stat().st_mtime_ns)
        for name, file in found.items()
        if not name.startswith(left_out)
    }


def by_path(found: Verified) -> dict[str, list[str]]:
    return {one.path: one.differences for one in found.outputs if one.differences}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_model_that_repeats_is_the_same_and_nothing_in_the_project_changes(project: Path) -> None:
    before, said = files(project), list[str]()
    found = rebuild.verify(project, ["one"], say=said.append)
    assert found.same
    assert [one.stage for one in found.outputs] == ONE
    assert [one.files for one in found.outputs] == [3, 1, 1, 1]
    assert found.machine == {}, "it ran with the three threads of its training"
    assert files(project) == before
    assert list((project / copy.FOLDER).iterdir()) == []
    assert said[0].startswith("4 stages run in a copy")
    assert said[1].endswith("same bytes")
    assert "all have the same bytes" in words.verified(found)


def test_without_a_model_every_stage_runs_again(project: Path) -> None:
    found = rebuild.verify(project, [])
    assert found.same
    assert len(found.outputs) == 9
    assert found.outputs[0].stage == "split"


def test_random_bytes_are_found_and_what_follows_from_them_is_told_apart(project: Path) -> None:
    edit(project / "work.py", "\nelse:", RANDOM + "\nelse:")
    found = rebuild.verify(project, ["one"])
    assert not found.same
    (weights,) = by_path(found)["models/one"]
    assert weights.startswith("weights.json: sum 7 -> ")
    assert [one.inherited for one in found.outputs] == [False, True, True, True]
    said = words.verified(found)
    assert "DIFFERS" in said
    assert "4 outputs: 0 same, 4 not" in said
    assert "docs/reproducibility.md" in said


def test_an_output_that_was_tampered_with_and_recorded_is_found(project: Path) -> None:
    file = project / "models/one/weights.json"
    edit(file, '"sum": 7', '"sum": 7.5')
    for command in (["commit", "-q", "-f", "train@one"], ["repro", "-q", "evaluate@one"]):
        tiny_pipeline.run(project, "dvc", *command)
    found = rebuild.verify(project, ["one"])
    assert by_path(found)["models/one"] == ["weights.json: sum 7.5 -> 7"]
    assert by_path(found)["reports/one.json"][0] == "evaluate.calibrate.predict.sum 7.5 -> 7"


def test_an_output_that_was_changed_after_the_build_is_found(project: Path) -> None:
    edit(project / "models/one/weights.json", '"sum": 7', '"sum": 8')
    found = rebuild.verify(project, ["one"])
    (said,) = by_path(found)["models/one"]
    assert said == "what lies in models/one is not what dvc.lock says: it was changed after the build"
    assert list(by_path(found)) == ["models/one"], "the copy rebuilt what dvc.lock says"


def test_another_machine_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE", "cuda")
    found = rebuild.verify(project, ["one"])
    assert found.machine == {"one": ["device cpu (here cuda)"]}
    assert by_path(found)["models/one"] == ['provenance.json: machine.device "cpu" -> "cuda"']
    assert "one was built by other means than here: device cpu (here cuda)" in words.verified(found)


def test_inputs_come_from_the_cache_where_they_are_not_checked_out(project: Path) -> None:
    shutil.rmtree(project / "data/splits")
    assert rebuild.verify(project, ["one"]).same
    assert not (project / "data/splits").exists()
    shutil.rmtree(project / "models/one")
    edit(project / "work.py", "\nelse:", RANDOM + "\nelse:")
    assert "is not here to compare with" in by_path(rebuild.verify(project, ["one"]))["models/one"][0]
    shutil.rmtree(project / ".dvc/cache")
    with pytest.raises(RetuneError, match=r"data/splits/.* is neither here nor in DVC's cache: `dvc pull`"):
        rebuild.verify(project, ["one"])


def changed_rows(folder: Path) -> None:
    edit(folder / "data/splits/train.json", "1", "9")


def changed_command(folder: Path) -> None:
    edit(folder / "dvc.yaml", "work.py predict ${item}", "work.py predict ${item} --fast")


def unbuilt_stage(folder: Path) -> None:
    text = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(text[: text.index("  evaluate@one:")] + text[text.index("  evaluate@two:") :])


@pytest.mark.parametrize(
    ("change", "model", "said"),
    [
        (changed_rows, "one", r"train@one changed since it was built \(data/splits/train\.json modified\).*dvc repro"),
        (changed_command, "one", r"predict@one changed since it was built \(changed command\)"),
        (unbuilt_stage, "one", r"evaluate@one was never built: run `dvc repro evaluate@one`"),
        (lambda _: None, "on", r"there is no built model `on`; did you mean `one`\? .*`dvc repro evaluate@on`"),
        (lambda folder: (folder / "dvc.lock").unlink(), "one", r"no dvc\.lock, so nothing was built here"),
    ],
)
def test_what_is_stale_or_not_built_is_told(
    project: Path, change: Callable[[Path], None], model: str, said: str
) -> None:
    change(project)
    with pytest.raises(RetuneError, match=said):
        rebuild.verify(project, [model])


def test_a_stage_that_fails_in_the_copy_is_told_with_its_last_words_and_can_be_kept(project: Path) -> None:
    edit(
        project / "work.py", "stage, name", "stage, name = sys.argv[1:]\nif stage == 'predict':\n    1 / 0\nstage, name"
    )
    with pytest.raises(RetuneError, match=r"predict@one was built here and fails in the copy:(\n.*)+ZeroDivisionError"):
        rebuild.verify(project, ["one"], keep=True)
    (kept,) = (project / copy.FOLDER).iterdir()
    assert json.loads((kept / "models/one/weights.json").read_text())["sum"] == 7
    edit(project / "work.py", "1 / 0", "pass")
    rebuild.verify(project, ["one"])
    assert kept.exists()


def test_a_kill_ends_the_stage_and_leaves_the_project_as_it_was(tmp_path: Path, project: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny_pipeline.lay_out(folder)
    (folder / "a").write_text(
        "import os; nap = os.environ.get('NAP', '');nap and (Path(nap).write_text(str(os.getpid())), time.sleep(60))"
    )
    tiny_pipeline.run(folder, "dvc", "repro", "-q")
    before, marker = files(folder), tmp_path / "asleep"
    with tiny_pipeline.start(folder, sys.executable, "-m", "retune.cli", "verify", NAP=str(marker)) as process:
        while not (marker.exists() and marker.read_text()):
            time.sleep(0.05)
            assert process.poll() is None, process.communicate()[0]
        os.kill(process.pid, signal.SIGKILL)
    assert files(folder) == before
    stage = int(marker.read_text())
    end = time.monotonic() + 30
    while Path(f"/proc/{stage}/cmdline").exists() and Path(f"/proc/{stage}/cmdline").read_bytes():
        assert time.monotonic() < end, "the stage goes on"
        time.sleep(0.1)
    assert len(list((folder / copy.FOLDER).iterdir())) == 1
    assert rebuild.verify(folder, []).same
    assert list((folder / copy.FOLDER).iterdir()) == []
