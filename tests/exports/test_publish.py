"""What a user is promised of `retune publish`: only proven files, private, with equal bytes at the other end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, snapshot_download

from retune.exports import hashes
from tests.support import uploads
from tests.support.exported_files import CARD, PARITY, README, write
from tests.support.hub_uploads import PART, Repository, UploadHub

WEIGHTS = bytes(range(256)) * (PART * 5 // 2 // 256)
TOKEN = "hf_secret"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    files = {"model.safetensors": WEIGHTS, "config.json": b"{}", "1_Pooling/config.json": b"[1]", "small.skops": b"abc"}
    return write(tmp_path / "exports/intent", files)


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UploadHub]:
    """A hub of this test's own, and a token for it."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with UploadHub().running() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def publish(export: Path, *arguments: str, fails: bool = False) -> str:
    return uploads.publish(export, TOKEN, *arguments, fails=fails)


def downloaded(hub: UploadHub, repo: str, place: Path) -> dict[str, bytes]:
    found = Path(snapshot_download(repo, endpoint=hub.url, token=TOKEN, cache_dir=place))
    return {name: file.read_bytes() for name, file in hashes.files(found).items() if name != ".gitattributes"}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in hashes.files(folder).items()}


def test_a_published_folder_comes_back_with_equal_bytes(export: Path, hub: UploadHub, tmp_path: Path) -> None:
    said = publish(export, "--to", "hf:team/intent")
    assert hub.repos["team/intent"].private
    assert downloaded(hub, "team/intent", tmp_path / "cache") == contents(export)
    assert sum(request.path.startswith("PUT /lfs/") for request in hub.seen) == 3 + 1, "three parts, and a small one"
    assert f"published: {hub.url}/team/intent/commit/" in said
    assert "licence: base e5-small: MIT, data calls: CC-BY-4.0" in said
    assert "largest difference 3e-06, equal decisions 100.0%" in said


def test_a_second_time_sends_what_changed_and_takes_away_what_is_gone(
    export: Path, hub: UploadHub, tmp_path: Path
) -> None:
    publish(export, "--to", "hf:team/intent")
    there = hub.repos["team/intent"]
    there.files["picture.png"] = b"of a person"
    (export / "small.skops").unlink()
    write(export, {"config.json": b'{"new": 1}'})
    sent = len(hub.seen)
    publish(export, "--to", "hf:team/intent")
    assert there.commits[1] == {"small.skops": "deleted", "config.json": "added", "parity.json": "added"}
    assert not [request for request in hub.seen[sent:] if request.path.startswith("PUT")], "the weights are there"
    assert downloaded(hub, "team/intent", tmp_path / "cache") == contents(export) | {"picture.png": b"of a person"}


def test_a_dry_run_lists_files_sizes_and_place_and_asks_nobody(
    export: Path, hub: UploadHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    said = publish(export, "--to", "hf:team/intent", "--dry-run")
    assert hub.seen == []
    listed = [line.split() for line in said.splitlines() if line.startswith("   ")]
    assert {name: int(size.replace(",", "")) for size, name in listed} == {
        name: len(data) for name, data in contents(export).items()
    }
    assert f"to {hub.url}/team/intent, private" in said
    assert said.endswith("dry run: nothing was sent\n")
    assert f"to {hub.url}/team/intent, public" in publish(export, "--to", "hf:team/intent", "--public", "--dry-run")


def test_public_is_asked_for(export: Path, hub: UploadHub) -> None:
    publish(export, "--to", "hf:team/open", "--public")
    assert not hub.repos["team/open"].private
    said = publish(export, "--to", "hf:team/open", fails=True)
    assert f"{hub.url}/team/open is public already: give --public if that is meant" in said
    publish(export, "--to", "hf:team/closed")
    said = publish(export, "--to", "hf:team/closed", "--public", fails=True)
    assert "is private, and --public changes no repository: open it in its settings" in said


def test_what_others_put_there_is_kept(export: Path, hub: UploadHub) -> None:
    hub.repos["team/other"] = Repository(True, {"model.bin": b"x", "README.md": b"", "a": b"", "b": b"", "c": b""})
    said = publish(export, "--to", "hf:team/other", fails=True)
    assert "/team/other holds something else (a, b, c and 1 more), which is kept: publish under another name" in said
    hub.repos["team/mine"] = Repository(True, {"export.json": json.dumps(CARD | {"name": "risk_llm"}).encode()})
    said = publish(export, "--to", "hf:team/mine", fails=True)
    assert "/team/mine holds the model risk_llm, and this export is of intent_encoder" in said
    hub.repos["team/like"] = Repository(True, {"model.safetensors": b"other weights", "config.json": b"{}"})
    said = publish(export, "--to", "hf:team/like", fails=True)
    assert "/team/like holds something else (model.safetensors), which is kept" in said
    hub.repos["team/new"] = Repository(True)  # made by hand on the hub
    publish(export, "--to", "hf:team/new")
    hub.repos["team/half"] = Repository(True, {"model.safetensors": WEIGHTS, "config.json": b"{}"})  # was stopped
    publish(export, "--to", "hf:team/half")
    assert [len(repo.commits) for repo in hub.repos.values()] == [0, 0, 0, 1, 1]


def without_hashes(folder: Path) -> None:
    (folder / "parity.json").write_text(json.dumps(PARITY))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json was changed after parity.json was"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is not there any more after parity.json"),
        (lambda folder: (folder / "extra.py").write_text(""), "extra.py came after parity.json was written"),
        (lambda folder: (folder / "parity.json").unlink(), "has no parity.json, so nothing proves that it answers"),
        (without_hashes, "does not say of which files it is"),
        (lambda folder: write(folder, {}, largest_difference=2e-4), "says a difference of 0.0002, where 0.0001 is"),
        (lambda folder: write(folder, {}, largest_difference=float("nan")), "says a difference of nan"),
        (lambda folder: write(folder, {}, rows=0), "it did not pass"),
        (lambda folder: (folder / "export.json").unlink(), "there is no export `intent` that is built"),
    ],
)
def test_nothing_is_sent_without_a_passed_proof_of_these_very_files(
    export: Path, hub: UploadHub, change: Any, said: str
) -> None:
    change(export)
    for more in ((), ("--dry-run",)):
        found = publish(export, "--to", "hf:team/intent", *more, fails=True)
        assert said in found
        assert "`dvc repro export@intent` makes and proves it" in found
    assert hub.seen == []


def test_8_bits_are_sent_that_were_proven_in_float32_and_measured(export: Path, hub: UploadHub) -> None:
    proven = {**PARITY, "largest_difference": 2e-4}
    eighth: dict[str, Any] = {"tolerance": None, "largest_difference": 0.2, "quality": {"metric": "f1"}}
    write(export, {}, **eighth, in_float32=proven)
    assert "it did not pass" in publish(export, "--to", "hf:team/intent", fails=True)
    write(export, {}, **eighth, in_float32=PARITY)
    publish(export, "--to", "hf:team/intent")
    assert set(hub.repos["team/intent"].files) == {".gitattributes", *contents(export)}


def test_the_card_may_be_edited_by_hand(export: Path, hub: UploadHub) -> None:
    (export / "README.md").write_text(README + "More about it.\n")
    publish(export, "--to", "hf:team/intent")
    assert hub.repos["team/intent"].files["README.md"].endswith(b"More about it.\n")


CREATE, INFO, COMMIT = "POST /api/repos/create", "GET /api/models/team/intent", "POST .*/commit/main"


@pytest.mark.parametrize(
    ("refused", "to", "said"),
    [
        ({INFO: (401, "Invalid credentials in Authorization header")}, "", "does not accept the token in HF_TOKEN"),
        ({INFO: (401, "")}, "", "does not accept the token in HF_TOKEN (401): make one that may write, at http"),
        ({}, "hf:nobody/intent", "may not write to {url}/nobody/intent (403) (You don't have the rights"),
        ({}, "hf:nobody/intent", "take one of `nobody`, or of a member, that has write access"),
        ({CREATE: (404, "no such user")}, "", "the hub knows no owner `team`, or no team/intent that the token"),
        ({CREATE: (409, "exists")}, "", "was made or changed by someone else meanwhile (409) (exists): run the"),
        ({COMMIT: (409, "conflict")}, "", "was made or changed by someone else meanwhile (409)"),
        ({COMMIT: (403, "storage")}, "", "may not write to {url}/team/intent (403) (storage)"),
        ({COMMIT: (403, "hf_secret is read-only")}, "", "(403) (HF_TOKEN is read-only): take one of `team`"),
        ({CREATE: (429, "")}, "", "too many requests of this token (429)"),
        ({"PUT /lfs/.*": (503, "")}, "", "the hub refuses {url}/team/intent (503)"),
        ({"POST .*/preupload/.*": (500, "oops")}, "", "(500) (oops): the same command goes on"),
        ({COMMIT: (413, "too large")}, "", "(413) (too large): nothing of it was committed"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses_is_one_sentence(
    export: Path, hub: UploadHub, refused: dict[str, tuple[int, str]], to: str, said: str
) -> None:
    hub.refusals = refused
    found = publish(export, "--to", to or "hf:team/intent", fails=True)
    assert said.format(url=hub.url) in found.splitlines()[-1]
    assert found.splitlines()[-1].startswith("retune: ")
    hub.refusals = {}
    publish(export, "--to", "hf:team/intent")
    assert set(hub.repos["team/intent"].files) == {".gitattributes", *contents(export)}


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("intent", "--to intent: write hf:OWNER/NAME (Hugging Face) or ms:OWNER/NAME (ModelScope)"),
        ("hf:intent", "--to hf:intent: write hf:OWNER/NAME"),
        ("hf:team/../x", "write hf:OWNER/NAME"),
        ("gh:team/x", "write hf:OWNER/NAME"),
    ],
)
def test_a_target_has_an_owner(export: Path, hub: UploadHub, to: str, said: str) -> None:
    assert said in publish(export, "--to", to, fails=True)
    assert hub.seen == []


def test_without_a_token_or_a_network_one_sentence_says_so(
    export: Path, hub: UploadHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("hf_of_a_login")  # the environment alone says who publishes
    said = publish(export, "--to", "hf:team/intent", fails=True)
    assert "retune: HF_TOKEN is not set: put a token of team with write access into it" in said
    assert hub.seen == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = publish(export, "--to", "hf:team/intent", fails=True)
    assert "http://127.0.0.1:9 can't be reached (" in said
