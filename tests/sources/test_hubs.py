"""What a user is promised of the model hubs: plain files of one recorded commit, checked; a pin that is one line."""

import json
import logging

import pytest
import yaml

from retune.errors import RetuneError
from retune.params import Params, loads
from retune.sources import cache, modelscope, retry
from retune.sources.checkpoints.fetch_checkpoint import fetch as fetch_checkpoint
from retune.sources.fetch import fetch as fetch_data
from retune.sources.pin import pin
from tests.support.hub_server import COMMIT, PULL, Hub, busy, cut, other, sha256

WEIGHTS = bytes(range(256)) * 2000
CHECKPOINT = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b'{"model": 1}',
    "pytorch_model.bin": b"pickle",
    "modeling_custom.py": b"raise SystemExit",
    "onnx/model.safetensors": b"another export",
    "README.md": b"hello",
}
LOG = logging.getLogger("retune")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-token"))
    monkeypatch.setattr(retry, "PAUSE", 0.001)
    monkeypatch.delenv("HF_TOKEN", raising=False)


def serve(monkeypatch, files, **fields):
    """A hub that both environment variables point to."""
    hub = Hub(files, **fields)

    class Context:
        def __enter__(self):
            self.context = hub.running()
            self.context.__enter__()
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
            return hub

        def __exit__(self, *_):
            self.context.__exit__(None, None, None)

    return Context()


def entry(kind="huggingface", **fields) -> Params:
    revision = "main" if kind == "huggingface" else "master"
    told = {"name": "tiny", "kind": kind, "repo": "owner/tiny", "revision": revision, "license": "MIT"} | fields
    return loads(json.dumps(told))


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_plain_files_only_with_the_commit_and_the_licence_recorded(kind, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with serve(monkeypatch, CHECKPOINT):
        record = fetch_checkpoint(entry(kind), tmp_path, LOG)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "SOURCE.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS
    assert record == json.loads((tmp_path / "SOURCE.json").read_text())
    assert record["commit"] == COMMIT
    assert record["files"]["model.safetensors"] == {"sha256": sha256(WEIGHTS), "bytes": len(WEIGHTS)}
    assert "licence MIT" in caplog.text
    assert f"now {COMMIT}" in caplog.text
    assert "retune pin tiny" in caplog.text


def test_a_pinned_commit_gives_no_warning(tmp_path, monkeypatch, caplog):
    with serve(monkeypatch, CHECKPOINT) as hub:
        fetch_checkpoint(entry(revision=COMMIT), tmp_path, LOG)
    assert "branch" not in caplog.text
    assert all(COMMIT in request.path for request in hub.seen if "resolve" in request.path)


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_faults_of_the_network_are_overcome_and_a_second_fetch_is_free(kind, tmp_path, monkeypatch):
    with serve(monkeypatch, CHECKPOINT, faults=[busy(), cut(1), cut(5)]) as hub:
        fetch_checkpoint(entry(kind), tmp_path, LOG)
        assert (tmp_path / "model.safetensors").read_bytes() == WEIGHTS
        before = len(hub.downloads())
        fetch_checkpoint(entry(kind), tmp_path, LOG)
        assert len(hub.downloads()) == before


@pytest.mark.parametrize(
    ("kind", "name"), [("huggingface", "model.safetensors"), ("huggingface", "config.json"), ("modelscope", "")]
)
def test_altered_bytes_are_refused(kind, name, tmp_path, monkeypatch):
    files = {name: CHECKPOINT[name], "model.safetensors": WEIGHTS} if name else CHECKPOINT
    with serve(monkeypatch, files, faults=[other]), pytest.raises(RetuneError, match="expected"):
        fetch_checkpoint(entry(kind), tmp_path, LOG)


@pytest.mark.parametrize(("kind", "variable"), [("huggingface", "HF_TOKEN"), ("modelscope", "MODELSCOPE_API_TOKEN")])
def test_the_token_is_sent_and_its_lack_is_named(kind, variable, tmp_path, monkeypatch):
    with serve(monkeypatch, CHECKPOINT, token="secret") as hub:
        with pytest.raises(RetuneError, match=f"set {variable}"):
            fetch_checkpoint(entry(kind), tmp_path, LOG)
        monkeypatch.setenv(variable, "secret")
        fetch_checkpoint(entry(kind), tmp_path, LOG)
    assert hub.downloads()


def test_pickles_are_replaced_by_the_conversion_of_the_hub_s_robot(tmp_path, monkeypatch, caplog):
    old = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with serve(monkeypatch, old, pull=old | {"model.safetensors": WEIGHTS}):
        record = fetch_checkpoint(entry(), tmp_path, LOG)
    assert record["commit"] == PULL
    assert "pull request 7" in caplog.text
    assert not (tmp_path / "pytorch_model.bin").exists()


def test_pickles_without_a_conversion_are_refused(tmp_path, monkeypatch):
    with (
        serve(monkeypatch, {"config.json": b"{}", "pytorch_model.bin": b"p"}),
        pytest.raises(RetuneError, match="pickled"),
    ):
        fetch_checkpoint(entry(), tmp_path, LOG)


@pytest.mark.parametrize("name", ["../evil.safetensors", "/evil.safetensors", "a/../../evil.json"])
def test_a_file_name_that_leaves_the_folder_is_refused(name, tmp_path, monkeypatch):
    with serve(monkeypatch, CHECKPOINT | {name: b"x"}), pytest.raises(RetuneError, match="leaves its folder"):
        fetch_checkpoint(entry(), tmp_path, LOG)


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_an_unknown_revision_is_told(kind, tmp_path, monkeypatch):
    with serve(monkeypatch, CHECKPOINT), pytest.raises(RetuneError, match="revision"):
        fetch_checkpoint(entry(kind, revision="absent"), tmp_path, LOG)


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_data_set_keeps_its_folders_and_takes_patterns(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(modelscope, "PAGE", 10)
    files = {f"part/{number:03}.csv": b"a,b\n%d,2\n" % number for number in range(25)} | {
        "load.py": b"",
        "big.parquet": b"x",
    }
    with serve(monkeypatch, files) as hub:
        fetch_data(entry(kind, files=["part/*.csv"]), tmp_path, LOG)
    assert len(list((tmp_path / "part").iterdir())) == 25
    assert not (tmp_path / "load.py").exists()
    assert not (tmp_path / "big.parquet").exists()
    assert any("/datasets/" in request.path for request in hub.seen)


def test_a_model_that_does_not_fit_the_disk_is_refused_at_once(tmp_path, monkeypatch):
    usage = cache.shutil.disk_usage("/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=len(WEIGHTS) - 1))
    with serve(monkeypatch, CHECKPOINT) as hub, pytest.raises(RetuneError, match="owner/tiny needs"):
        fetch_checkpoint(entry(), tmp_path, LOG)
    assert hub.downloads() == []


CATALOG = """\
# what there is
other: {kind: huggingface, repo: owner/other, revision: main, license: MIT}

tiny:            # the one
  kind: huggingface
  repo: owner/tiny   # where
  # revision: main would be a comment
  revision: main     # moves
  license: MIT

bare:
  kind: modelscope
  repo: owner/bare
  license: MIT
data: {kind: huggingface, repo: owner/data, revision: "main", license: MIT, tables: []}
local: {kind: path, path: /x, license: MIT}
"""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tiny", "  revision: main     # moves", f"  revision: {COMMIT}     # moves"),
        ("other", "owner/other, revision: main,", f"owner/other, revision: {COMMIT},"),
        ("bare", "  repo: owner/bare\n", f"  repo: owner/bare\n  revision: {COMMIT}\n"),
        ("data", 'revision: "main"', f"revision: {COMMIT}"),
    ],
)
def test_a_pin_changes_one_value_and_nothing_else(name, old, new, tmp_path, monkeypatch):
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    with serve(monkeypatch, CHECKPOINT) as hub:
        told = pin(name, path)
        assert path.read_text() == CATALOG.replace(old, new)
        assert yaml.safe_load(path.read_text())[name]["revision"] == COMMIT
        assert COMMIT in told
        assert "pinned already" in pin(name, path) or name == "bare"
    assert any("/datasets/" in request.path for request in hub.seen) == (name == "data")


def test_what_has_no_revision_cannot_be_pinned(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    with pytest.raises(RetuneError, match="kind `path`"):
        pin("local", path)
    with pytest.raises(RetuneError, match="no entry `absent`"):
        pin("absent", path)
    assert path.read_text() == CATALOG


def test_a_commit_that_modelscope_hides_is_not_invented(tmp_path, monkeypatch):
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    with serve(monkeypatch, CHECKPOINT, latest={}), pytest.raises(RetuneError, match="does not tell the commit"):
        pin("bare", path)
