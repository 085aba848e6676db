"""What `retune doctor` finds, and what it says to do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retune.doctor import command, machine, models, outside, tools
from retune.doctor.finding import OK, PROBLEM, WARNING
from retune.doctor.machine import Device
from retune.pipeline import declarations
from retune.pipeline.resolve import compiled
from tests.support.command_line import printed
from tests.support.declarations import replace, write

GIB = 2**30


def test_memory_is_what_is_available_within_the_limits_of_every_cgroup_above(tmp_path):
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {64 * 2**20} kB\nMemAvailable: {60 * 2**20} kB\n")
    (proc / "self/cgroup").write_text("0::/pod/job\n")
    assert machine.memory(proc, cgroups) == (60 * GIB, "of 64.0 GiB")
    (cgroups / "pod/job").mkdir(parents=True)
    (cgroups / "pod/job/memory.max").write_text("max\n")
    (cgroups / "pod/job/memory.current").write_text(f"{GIB}\n")
    (cgroups / "pod/memory.max").write_text(f"{8 * GIB}\n")
    (cgroups / "pod/memory.current").write_text(f"{3 * GIB}\n")
    (cgroups / "pod/memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    assert machine.memory(proc, cgroups) == (6 * GIB, "of 8.0 GiB that the cgroup allows")
    (proc / "self/cgroup").write_text("4:cpu,memory:/box\n")
    (cgroups / "memory/box").mkdir(parents=True)
    (cgroups / "memory/box/memory.limit_in_bytes").write_text(f"{2 * GIB}\n")
    (cgroups / "memory/box/memory.usage_in_bytes").write_text("0\n")
    assert machine.memory(proc, cgroups)[0] == 2 * GIB


def test_a_package_that_retune_names_and_that_is_missing_is_a_problem(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["no-such-package>=1", "Polars[all]>=2"]\n')
    (tmp_path / "requirements.lock").write_text("no_such_package==1.0\npolars==0.0.1\nelse-absent==2\n")
    found = tools.packages(tmp_path)
    assert [one.state for one in found] == [PROBLEM, WARNING]
    assert "no_such_package" in found[0].said
    assert "locked 0.0.1" in found[1].said
    (tmp_path / "requirements.lock").write_text("else-absent==2\n")
    assert [one.state for one in tools.packages(tmp_path)] == [OK]


def test_locks_of_a_process_that_has_ended_are_told_and_those_of_a_living_one_are_not(tmp_path):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    assert machine.locks(tmp_path).state == OK
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    path = tmp_path / ".dvc/tmp/rwlock"
    path.write_text(json.dumps({"write": {"/x": {"pid": int(ended.stdout), "cmd": "dvc repro"}}, "read": {}}))
    found = machine.locks(tmp_path)
    assert (found.state, ended.stdout.strip() in found.said, "retune repro" in found.remedy) == (WARNING, True, True)
    path.write_text('{"write": {"/x"')
    assert machine.locks(tmp_path).state == PROBLEM


def test_links_are_tried_and_a_type_that_is_not_there_is_told(tmp_path):
    (tmp_path / ".dvc").mkdir()
    found = tools.links(tmp_path, tmp_path / ".dvc/cache", None)
    assert found.state == OK
    assert "reflink" in found.said
    assert tools.links(tmp_path, tmp_path / ".dvc/cache", "copy").state == OK
    assert tools.links(tmp_path, tmp_path / ".dvc/cache", "junction").state == WARNING
    assert list((tmp_path / ".dvc/tmp").iterdir()) == []


def test_only_hubs_of_what_is_still_to_be_fetched_are_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://someone:secret@127.0.0.1:9")
    folder = write(tmp_path / "project")
    resolved, _ = compiled(declarations.load(folder))
    found = outside.hubs(resolved, folder)
    assert [one.state for one in found] == [WARNING]
    assert "offline: http://127.0.0.1:9 does not answer" in found[0].said
    assert "bases.encoder, bases.llm" in found[0].said
    assert "secret" not in found[0].said
    for role in ("encoder", "llm"):
        (folder / "models/bases" / role).mkdir(parents=True)
    assert outside.hubs(resolved, folder)[0].said == "nothing is left to be fetched"


def test_disk_that_is_too_small_is_a_problem_with_a_remedy(tmp_path):
    assert outside.disk(tmp_path, tmp_path / "cache", 10.0, 10.0)[0].state == OK
    found = outside.disk(tmp_path, tmp_path / "cache", 1e18, 0.0)[0]
    assert (found.state, "RETUNE_CACHE" in found.remedy) == (PROBLEM, True)


def test_a_model_that_does_not_fit_is_a_problem_and_one_that_may_not_is_a_warning(tmp_path):
    folder = write(tmp_path / "project")
    replace(folder, "models/catalog.yaml", "repo: owner/chat", "repo: owner/chat-8b")
    replace(folder, "models/catalog.yaml", "repo: owner/small", "repo: owner/bert-base")
    resolved, _ = compiled(declarations.load(folder))

    def states(free):
        device = Device("cuda", free, "bfloat16", "a GPU")
        found = models.findings(models.estimates(resolved, folder, device), device)
        return {one.about.removeprefix("memory of "): one.state for one in found}

    assert states(200 * GIB) == {"untuned": OK, "cross": OK, "chatty": OK}
    assert states(10 * GIB)["chatty"] == PROBLEM  # 16 GiB of weights alone
    assert states(17.5 * GIB)["chatty"] == WARNING
    assert states(10 * GIB)["cross"] == OK


@pytest.mark.slow
def test_the_default_remote_is_looked_for_by_dvc(tmp_path):
    def dvc(*arguments):
        subprocess.run(["dvc", *arguments], cwd=tmp_path, check=True, capture_output=True)

    dvc("init", "--no-scm")
    assert (outside.remote(tmp_path).state, "none is the default" in outside.remote(tmp_path).said) == (OK, True)
    dvc("remote", "add", "--default", "team", str(tmp_path / "team"))
    assert (outside.remote(tmp_path).state, "does not exist" in outside.remote(tmp_path).said) == (WARNING, True)
    (tmp_path / "team").mkdir()
    assert "is reached" in outside.remote(tmp_path).said


@pytest.mark.slow
def test_the_command_has_json_and_exits_with_1_for_a_problem(tmp_path):
    folder = write(tmp_path / "project")
    shutil.rmtree(folder / "models/bases", ignore_errors=True)
    text = printed(folder, "doctor", "--json", fails=True)  # no repository of git, no .dvc
    found = json.loads(text)
    by = {one["about"]: one for one in found["findings"]}
    assert found["problems"] >= 2
    assert (by["git"]["state"], by["dvc"]["state"], by["python"]["state"]) == (PROBLEM, PROBLEM, OK)
    assert all(one["remedy"] for one in found["findings"] if one["state"] != OK)
    replace(folder, "params.yaml", "learner: linear", "learner: linaer")
    assert "`retune check` lists them all" in printed(folder, "doctor", fails=True)


def test_it_does_not_import_torch(tmp_path):
    code = "import sys; from retune.doctor import command; from retune.propose import command as two"
    code += "; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert command.PARAMS
