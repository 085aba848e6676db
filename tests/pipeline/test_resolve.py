"""What a user is promised about merging: defaults, what beats them, and the resolved file."""

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.errors import RetuneError
from retune.pipeline.declarations import default_sections
from retune.pipeline.reads import dumps
from retune.pipeline.resolve import merge, resolve
from retune.pipeline.schema.params import SECTIONS, Training
from tests.support.declarations import ROOT, replace, resolved, write

pytestmark = pytest.mark.slow

NUMBERS = {
    "epochs": st.floats(0, 100),
    "batch_size": st.integers(1, 512),
    "learning_rate": st.floats(1e-7, 1),
    "max_length": st.integers(8, 4096),
    "max_rows": st.none() | st.integers(1, 10**6),
    "schedule": st.sampled_from(["linear", "cosine", "constant"]),
    "freeze_embeddings": st.booleans(),
    "freeze_layers": st.integers(0, 24),
}
SOME = st.fixed_dictionaries({}, optional=NUMBERS)


@given(default=SOME, own=SOME)
def test_what_a_model_says_beats_the_default_key_by_key_and_nothing_else_changes(default, own):
    section = Training.model_validate(default)
    merged = Training.model_validate(merge(section, own)).model_dump()
    assert merged == {**section.model_dump(), **own}


def test_a_model_gets_the_sections_of_its_learner_merged_and_no_others(tmp_path):
    models = resolved(write(tmp_path))["models"]
    for name, model in models.items():
        sections = {section for section in default_sections() if model.get(section)}
        assert sections == set(SECTIONS[model["learner"]]), name
    assert models["chatty"]["training"]["epochs"] == 2
    assert models["cross"]["training"]["epochs"] == 1
    assert models["untuned"]["training"] == {"epochs": 0, "max_length": 128, "max_rows": None, "dev_rows": None}
    assert models["cross"]["loss"]["name"] == "focal"
    assert models["untuned"]["loss"] == {"class_weights": "none"}
    assert models["cross"]["training"]["learning_rate"] == 3e-5


@pytest.mark.parametrize(
    ("old", "new", "reached"),
    [
        ("lora: {r: 16}", "lora: {r: 64}", {"chatty"}),
        ("epochs: 1,", "epochs: 3,", {"cross"}),
        ("batch_size: 8", "batch_size: 4", {"cross", "chatty"}),
        ("lora: {r: 16}", "lora: {r: 16}\nlinear: {c: 2.5}", {"plain"}),
        ("lora: {r: 16}", "lora: {r: 16}\nevaluation: {errors: 3}", set()),
        ("encoder: small", "encoder: chat", {"untuned", "cross"}),
        ("seed: 7", "seed: 8", {"plain", "untuned", "cross", "chatty"}),
    ],
)
def test_a_change_reaches_the_models_that_inherit_it_and_no_others(old, new, reached, tmp_path):
    before = resolved(write(tmp_path))["models"]
    replace(tmp_path, "params.yaml", old, new)
    after = resolved(tmp_path)["models"]
    assert {name for name in before if before[name] != after[name]} == reached


def test_a_tolerance_of_the_gate_is_written_where_it_is_declared_and_makes_nothing_stale(tmp_path):
    before = resolved(write(tmp_path))
    assert "gate" not in before
    replace(tmp_path, "params.yaml", "lora: {", "gate: {questions: {worse_by: 0.01}}\nlora: {")
    after = resolved(tmp_path)
    assert after.pop("gate") == {"questions": {"metric": None, "worse_by": 0.01}}
    assert after == before


def test_a_models_section_holds_its_names_seed_and_the_prompts_text(tmp_path):
    models = resolved(write(tmp_path, ("params.yaml", "base: llm\n", "base: llm\n    seed: 11\n")))["models"]
    names = {"task": "questions", "kind": "pair", "learner": "llm", "base": "llm", "base_name": "chat", "seed": 11}
    assert {key: models["chatty"][key] for key in names} == names
    assert models["chatty"]["prompt"] == {
        "system": "Do they mean the same?",
        "user": "{text_a} / {text_b}",
        "answers": {"0": "no", "1": "yes"},
    }
    assert models["plain"]["seed"] == 7
    assert "prompt" not in models["cross"]


def test_a_task_says_what_it_fetches_apart_from_what_it_reads_out_of_it(tmp_path):
    edit = ("params.yaml", "kind: pair", "kind: pair\n    size: 300\n    max_rejects: 0.5\n    evaluation: {errors: 3}")
    task = resolved(write(tmp_path, edit))["tasks"]["questions"]
    assert task["source"] == {
        "name": "sample",
        "kind": "sample",
        "license": "Apache-2.0",
        "generator": "similarity",
        "seed": 7,
        "rows": 300,
    }
    assert task["convert"]["tables"][0]["columns"] == {"text_a": "a", "text_b": "b", "label": "label"}
    assert (task["convert"]["max_rejects"], task["convert"]["source"]) == (0.5, "sample")
    assert task["evaluation"]["errors"] == 3
    assert task["evaluation"]["seed"] == 7
    assert task["models"] == ["plain", "untuned", "cross", "chatty"]
    assert {task[section]["kind"] for section in ("convert", "augmentation", "split", "calibration", "evaluation")} == {
        "pair"
    }


def test_a_file_of_a_path_source_is_known_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the memory of hashes is kept in the project
    folder = write(tmp_path, ("params.yaml", "source: sample", "source: files"))
    rows = folder / "data/external/rows/rows.csv"
    rows.parent.mkdir(parents=True)
    rows.write_text("a,b,label\n")
    before = resolved(folder)["tasks"]["questions"]
    assert before["source"]["files"] == {"rows.csv": hashlib.sha256(rows.read_bytes()).hexdigest()}
    rows.write_text("a,b,label\n1,2,0\n")
    after = resolved(folder)["tasks"]["questions"]
    assert after["source"] != before["source"]
    assert after["convert"] == before["convert"]


def test_only_the_files_that_tables_name_count_and_one_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path, ("params.yaml", "source: sample", "source: files"))
    data = folder / "data/external/rows"
    data.mkdir(parents=True)
    (data / "video.mp4").write_bytes(b"x")
    with pytest.raises(RetuneError, match=r"files\.path: no file in .*rows fits `rows\.csv` \(there are: video\.mp4\)"):
        resolve(folder)
    (data / "rows.csv").symlink_to("/nowhere/rows.csv")
    with pytest.raises(RetuneError, match=r"rows\.csv is a link to /nowhere/rows\.csv, which does not exist"):
        resolve(folder)
    (data / "rows.csv").unlink()
    (data / "rows.csv").write_text("a,b,label\n")
    assert list(resolved(folder)["tasks"]["questions"]["source"]["files"]) == ["rows.csv"]


def test_a_lora_folder_as_a_base_is_an_error_of_the_catalog(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub = "{kind: huggingface, license: MIT, repo: owner/chat, revision: 0123456789abcdef0123456789abcdef01234567}"
    folder = write(
        tmp_path, ("models/catalog.yaml", f"chat: {hub}", "chat: {kind: path, license: MIT, path: data/external/lora}")
    )
    (folder / "data/external/lora").mkdir(parents=True)
    (folder / "data/external/lora/adapter_config.json").write_text("{}")
    with pytest.raises(
        RetuneError, match=r"chat\.path: adapter_config\.json says that this is a LoRA adapter, not a model"
    ):
        resolve(folder)


def test_a_path_that_is_not_there_is_an_error_of_the_catalog(tmp_path):
    with pytest.raises(RetuneError, match=r"data/catalog\.yaml:\d+: files\.path: .*data/external/rows"):
        resolve(write(tmp_path, ("params.yaml", "source: sample", "source: files")))


@pytest.mark.slow
def test_the_file_is_the_same_in_every_process_and_for_every_form_of_the_same_values(tmp_path):
    folder = write(tmp_path)
    text = dumps(resolved(folder))
    assert text.endswith("}\n")
    assert json.loads(text) == resolved(folder)
    code = (
        "import pathlib; from retune.pipeline.reads import *; from retune.pipeline.resolve import *; "
        "print(dumps(resolve(pathlib.Path()).resolved), end='')"
    )
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, check=True
        )
        assert done.stdout.decode() == text
    replace(
        folder,
        "params.yaml",
        "epochs: 1, batch_size: 8, learning_rate: 3e-5",
        "epochs: 1.0, batch_size: 8, learning_rate: 0.00003",
    )
    replace(folder, "params.yaml", "learner: llm\n    base: llm", "base: llm\n    learner: llm   # why not")
    assert dumps(resolved(folder)) == text


@pytest.mark.slow
def test_the_stage_writes_the_file_and_prints_the_warnings(tmp_path):
    folder = write(tmp_path, ("params.yaml", "encoder: small", "encoder: small\n  idle: small"))
    command = [sys.executable, "-m", "stages.resolve"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert "bases.idle is fetched, but no model uses it" in done.stderr
    assert (folder / "params-resolved.json").read_bytes() == dumps(resolved(folder)).encode()
    written = (folder / "resolved").rglob("*.json")
    assert {path.relative_to(folder).as_posix(): path.read_text() for path in written} == resolve(folder).files

    replace(folder, "params.yaml", "batch_size", "batch_sise")
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "did you mean `batch_size`" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_resolving_loads_nothing_heavy(tmp_path):
    write(tmp_path)
    heavy = "{'torch', 'transformers', 'polars', 'numpy', 'sklearn', 'dataframely', 'typer'}"
    code = (
        "import sys, pathlib, retune.pipeline.resolve as r; r.resolve(pathlib.Path()); "
        f"print(*({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def test_no_key_of_the_resolved_file_is_one_that_dvc_leaves_out_of_its_run_cache():
    """DVC drops `size` and `nfiles` at any depth from the key under which it finds finished work again."""

    def keys(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                yield from keys(inner)

    resolved = json.loads((ROOT / "params-resolved.json").read_text(encoding="utf-8"))
    assert not {"size", "nfiles"} & set(keys(resolved))
