"""What a user is promised about rebuilding: an edit reruns what it reaches, and nothing else."""

import ast
import subprocess
import sys

import pytest

from retune.errors import RetuneError
from retune.pipeline.fingerprint import DISTRIBUTIONS, ENGINES, STAGES, Code, fingerprints
from retune.pipeline.uncounted import UNCOUNTED
from tests.support.declarations import ROOT, replace, resolved, write

pytestmark = pytest.mark.slow

LLM = {"train.chatty", "predict.chatty"}


@pytest.fixture
def folder(tmp_path):
    """A project with its own copy of the code."""
    return write(tmp_path, code=True)


def codes(folder) -> dict[str, str]:
    """`STAGE.INSTANCE` -> fingerprint."""
    code = resolved(folder)["code"]
    flat = {f"{stage}.{name}": digest for stage in STAGES for name, digest in code[stage].items()}
    return flat | {"report": code["report"]}


def changed(folder, edit) -> set[str]:
    """The stage instances whose fingerprint an edit changes."""
    before = codes(folder)
    edit()
    after = codes(folder)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def append(file, text):
    return lambda: file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_every_stage_instance_has_a_fingerprint(folder):
    code = resolved(folder)["code"]
    parts = {
        "bases": ["scratch", "encoder", "llm"],
        "tasks": ["questions"],
        "models": ["plain", "untuned", "cross", "chatty"],
        "ensembles": [],
        "students": [],
        "starts": [],
        "exports": [],
    }
    assert {stage: list(code[stage]) for stage in STAGES} == {
        stage: parts[section] for stage, section in STAGES.items()
    }
    assert code["train"]["untuned"] != code["train"]["cross"] != code["train"]["chatty"] != code["train"]["plain"]
    assert list(code) == [*STAGES, "report"]


@pytest.mark.slow
def test_comments_docstrings_and_formatting_change_nothing(folder):
    def edit():
        for file in [*folder.glob("retune/**/*.py"), *folder.glob("stages/*.py")]:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    docstring = ast.Expr(ast.Constant("Another text."))
                    node.body = [docstring, *(node.body[1:] if ast.get_docstring(node) is not None else node.body)]
            file.write_text(f"# new\n{ast.unparse(ast.fix_missing_locations(tree))}\n# end\n", encoding="utf-8")

    assert changed(folder, edit) == set()


def test_a_checkout_with_the_line_ends_of_windows_changes_nothing(folder):
    def edit():
        for file in folder.glob("retune/**/*"):
            if file.suffix in (".py", ".yaml", ".txt", ".html", ".css", ".js"):
                file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))

    assert changed(folder, edit) == set()


def test_an_edit_in_the_llm_learner_reruns_only_the_llms_training_and_prediction(folder):
    assert changed(folder, append(folder / "retune/learners/llm/task_prompt.py", "\nMARK = 1\n")) == LLM


def test_a_string_that_is_not_a_docstring_counts(folder):
    file = folder / "retune/learners/llm/task_prompt.py"
    append(file, "\ndef f():\n    x = 1\n    'one'\n    return x\n")()
    assert changed(folder, lambda: replace(folder, "retune/learners/llm/task_prompt.py", "'one'", "'two'")) == LLM


def test_a_new_version_of_peft_reruns_only_the_llm(folder):
    def edit():
        lock = folder / "requirements.lock"
        lines = lock.read_text(encoding="utf-8").splitlines()
        lock.write_text("\n".join("peft==99.0" if line.startswith("peft==") else line for line in lines))

    assert changed(folder, edit) == LLM


def test_a_new_version_of_a_package_that_computes_for_another_counts(folder):
    def edit():
        lock = folder / "requirements.lock"
        lines = lock.read_text(encoding="utf-8").splitlines()
        lock.write_text("\n".join("tokenizers==99.0" if line.startswith("tokenizers==") else line for line in lines))

    found = changed(folder, edit)
    assert found >= LLM | {"train.cross", "predict.cross", "train.untuned"}
    assert not found & {"train.plain", "split.questions", "evaluate.chatty"}


@pytest.mark.slow
def test_a_package_that_no_stage_imports_reruns_nothing(folder):
    lock = folder / "requirements.lock"
    assert changed(folder, append(lock, "\nnot-a-package==1.0\n")) == set()


@pytest.mark.slow
def test_a_module_that_no_stage_reaches_reruns_nothing(folder):
    assert changed(folder, append(folder / "retune/pipeline/schema/params.py", "\nMARK = 1\n")) == set()
    assert changed(folder, append(folder / "retune/cli/building.py", "\nMARK = 1\n")) == set()


@pytest.mark.slow
def test_a_data_file_counts_for_the_module_of_its_name_or_else_for_its_package(folder):
    assert changed(folder, append(folder / "retune/sources/samples/similarity.yaml", "\n# more\n")) == {
        "download.questions"
    }
    (folder / "retune/report/templates").mkdir(exist_ok=True)
    pages = {"report", "explore.questions"}
    assert changed(folder, lambda: (folder / "retune/report/templates/new.html").write_text("x")) == pages


def test_a_prompt_changes_the_llms_section_what_is_explored_and_no_fingerprint(folder):
    before = resolved(folder)
    replace(folder, "prompts/questions.yaml", "the same", "one and the same")
    after = resolved(folder)
    assert after["code"] == before["code"]
    assert {name for name in after["models"] if after["models"][name] != before["models"][name]} == {"chatty"}
    for section in ("exploration", "prompt"):  # `retune rows` reads the latter, no stage does
        assert after["tasks"]["questions"].pop(section) != before["tasks"]["questions"].pop(section)
    assert after["tasks"] == before["tasks"]


SMALL = {
    "stages/__init__.py": "",
    "stages/go.py": "from retune import a\nfrom . import other\n",
    "stages/other.py": "",
    "retune/__init__.py": "",
    "retune/a.py": """\
from __future__ import annotations
import os, json
from typing import TYPE_CHECKING
from retune.deep.b import c as name
from retune.names import NAME
if TYPE_CHECKING:
    from retune.types_only import T
def f():
    try:
        import retune.late
    except ImportError:
        pass
""",
    "retune/names.py": "NAME = 1",
    "retune/late.py": "from .deep import d",
    "retune/types_only.py": "import torch",
    "retune/deep/__init__.py": "from .b import e",
    "retune/deep/b/__init__.py": "",
    "retune/deep/b/c.py": "import yaml\nimport sklearn.linear_model",
    "retune/deep/b/e.py": "from ...names import NAME",
    "retune/deep/d.py": "",
    "retune/unused.py": "import torch",
    "requirements.lock": """\
# pins
PyYAML==6.0
scikit_learn==1.9.1 ; python_version > '3'
numpy[x]==2.0 \\
  --hash=sha256:0
scipy==1
""",
}


@pytest.fixture
def small(tmp_path):
    for name, text in SMALL.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_closure_follows_every_static_import_of_the_project(small):
    assert Code(small).closure(["stages.go"]) == [
        "retune", "retune.a", "retune.deep", "retune.deep.b", "retune.deep.b.c", "retune.deep.b.e", "retune.deep.d",
        "retune.late", "retune.names", "stages", "stages.go", "stages.other",
    ]  # fmt: skip


def test_versions_come_from_the_lock_under_the_packages_own_names(small):
    code = Code(small)
    expected = {"numpy": "2.0", "pyyaml": "6.0", "scikit-learn": "1.9.1", "scipy": "1"}
    assert code.versions(code.closure(["stages.go"])) == expected


def test_a_package_outside_the_lock_is_an_error(small):
    (small / "retune/names.py").write_text("import jinja2")
    with pytest.raises(RetuneError, match=r"retune\.names imports `jinja2`, which requirements\.lock does not pin"):
        Code(small).fingerprint(["stages.go"])
    (small / "requirements.lock").unlink()
    with pytest.raises(RetuneError, match=r"requirements\.lock is missing"):
        Code(small).fingerprint(["stages.go"])


def test_the_tables_of_packages_name_only_locked_ones(tmp_path):
    locked = Code(write(tmp_path)).locked
    named = {*DISTRIBUTIONS.values(), *ENGINES, *(engine for engines in ENGINES.values() for engine in engines)}
    assert named <= locked.keys()


def test_a_syntax_error_and_a_missing_module_are_named(small):
    (small / "retune/names.py").write_text("x = 1\ny = (")
    with pytest.raises(RetuneError, match=r"retune/names\.py:2: "):
        Code(small).fingerprint(["stages.go"])
    with pytest.raises(RetuneError, match=r"no module retune\.learners\.none \(retune/learners/none\.py\)"):
        Code(small).fingerprint(["retune.learners.none"])


@pytest.mark.slow
def test_the_closure_of_this_project_holds_what_a_stage_really_imports(tmp_path):
    """The static closure must cover the modules that a running stage has loaded."""
    write(tmp_path)
    spec = resolved(tmp_path)
    code = Code(tmp_path)
    loaded = "print(*(name for name in sys.modules if name.split('.')[0] in ('retune', 'stages')))"
    for stage in ("convert", "split", "evaluate"):
        script = f"import sys, stages.{stage}, retune.data.kinds.pair; {loaded}"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        counted = code.closure([f"stages.{stage}", "retune.data.kinds.pair"])
        by_the_runtime = {"retune.atomic_file"}  # and by nothing that computes
        assert set(done.stdout.split()) <= {*counted, *UNCOUNTED, *by_the_runtime}
    assert fingerprints(tmp_path, spec) == spec["code"]
