"""`retune publish --to ms:`: with ModelScope's client where it is installed, one sentence where it is not."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retune.exports import hashes
from tests.support import uploads
from tests.support.exported_files import CARD, write
from tests.support.modelscope_uploads import ModelScopeHub, Repository

TOKEN = "ms_secret"
FILES = {"model.safetensors": bytes(range(256)) * 900, "config.json": b"{}", "small.skops": b"abc"}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write(tmp_path / "exports/intent", FILES)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelScopeHub]:
    pytest.importorskip("modelscope_hub", reason="modelscope_hub is not installed: pip install modelscope_hub")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))
    with ModelScopeHub().running() as served:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", served.url)
        yield served


def publish(export: Path, *arguments: str, fails: bool = False) -> str:
    return uploads.publish(export, TOKEN, *arguments, fails=fails)


def test_the_folder_arrives_privately_with_equal_bytes(export: Path, hub: ModelScopeHub) -> None:
    before = hashes.of(export)
    said = publish(export, "--to", "ms:team/intent")
    there = hub.repos["team/intent"]
    assert (there.visibility, there.licence) == (1, "mit")
    own = {name: file.read_bytes() for name, file in hashes.files(export).items()}
    assert {name: data for name, data in there.files.items() if name in own} == own
    assert f"published: {hub.url}/models/team/intent" in said
    assert hashes.of(export) == before, "the client leaves nothing in the folder"
    there.files["notes.txt"] = b"of a person"
    (export / "small.skops").unlink()
    write(export, {"config.json": b'{"new": 1}'})
    publish(export, "--to", "ms:team/intent")
    assert there.files["config.json"] == b'{"new": 1}'
    assert "small.skops" not in there.files
    assert there.files["notes.txt"] == b"of a person"
    assert "is public already" not in said


def test_what_can_not_be_is_one_sentence(export: Path, hub: ModelScopeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for refused, to, wanted in (
        ({"GET .*": (401, "bad")}, "ms:team/intent", "ModelScope does not accept the token in MODELSCOPE_API_TOKEN"),
        ({}, "ms:nobody/intent", "the token in MODELSCOPE_API_TOKEN may not write to {url}/models/nobody/intent"),
        ({"POST /api/v1/models": (404, "x")}, "ms:team/intent", "ModelScope knows no owner `team`, or no team/intent"),
    ):
        hub.refusals = refused
        assert wanted.format(url=hub.url) in publish(export, "--to", to, fails=True).splitlines()[-1]
    hub.refusals = {}
    hub.repos["team/open"] = Repository(5)
    assert "/models/team/open is public already: give --public" in publish(export, "--to", "ms:team/open", fails=True)
    hub.repos["team/odd"] = Repository(3)
    assert "is neither public nor private (internal)" in publish(export, "--to", "ms:team/odd", fails=True)
    hub.repos["team/other"] = Repository(1, files={"a.bin": b"x"})
    assert "holds something else (a.bin), which is kept" in publish(export, "--to", "ms:team/other", fails=True)
    hub.repos["team/mine"] = Repository(1, files={"export.json": json.dumps(CARD | {"name": "risk"}).encode()})
    assert "holds the model risk, and this export is of" in publish(export, "--to", "ms:team/mine", fails=True)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 can't be reached" in publish(export, "--to", "ms:team/intent", fails=True)


def test_the_client_is_asked_for_where_it_is_not_installed(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("modelscope_hub"):
            raise ImportError(name)
        return found(name, *rest, **more)

    said = publish(export, "--to", "ms:team/intent", "--dry-run")
    assert "to https://modelscope.cn/models/team/intent, private" in said
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    assert "MODELSCOPE_API_TOKEN is not set" in publish(export, "--to", "ms:team/intent", fails=True)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    monkeypatch.setattr(builtins, "__import__", without)
    said = publish(export, "--to", "ms:team/intent", fails=True)
    assert "ms: needs ModelScope's client, which is not installed: `pip install modelscope_hub`" in said
