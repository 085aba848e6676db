"""What a user is promised of the sources on this machine: samples, folders, and data files out of wheels."""

import hashlib
import io
import json
import logging
import stat
import subprocess
import sys
import zipfile

import pytest
from pydantic import ValidationError

from retune.errors import RetuneError
from retune.params import Params, loads
from retune.pipeline.schema.catalog import Source
from retune.sources import cache, path, wheel
from retune.sources.fetch import bring, fetch
from tests.support.hub_server import Hub, sha256

LOG = logging.getLogger("retune")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def entry(**fields) -> Params:
    return loads(json.dumps({"name": "tiny", "license": "CC0-1.0"} | fields))


def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    return folder


# ---- path


def test_files_are_listed_without_the_hidden_ones_and_copied_with_their_hashes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in ["b/two.csv", "one.csv", ".hidden", ".git/config"]:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    files = path.list_files("data")
    assert list(files) == ["b/two.csv", "one.csv"]
    hashes = {name: path.hash_file(file) for name, file in files.items()}
    record = fetch(entry(kind="path", path="data", files=hashes), out(tmp_path), LOG)
    assert {name: told["sha256"] for name, told in record["files"].items()} == hashes
    assert (tmp_path / "out" / "b" / "two.csv").read_text() == "b/two.csv"
    assert "licence CC0-1.0" in caplog.text


def test_a_file_changed_since_resolve_is_refused(tmp_path):
    (tmp_path / "one.csv").write_text("a\n1\n")
    source = entry(kind="path", path="one.csv", files={"one.csv": "0" * 64})
    with pytest.raises(RetuneError, match="changed since `resolve` read it"):
        fetch(source, out(tmp_path), LOG)
    with pytest.raises(RetuneError, match=r"lost files .*two.csv"):
        fetch(Params({**source, "files": {**source.files, "two.csv": ""}}), out(tmp_path), LOG)


def test_only_the_files_that_tables_name_are_listed_and_copied(tmp_path):
    for name in ["one.csv", "data[1].csv", "deep/two.csv", "video.mp4", "~$one.csv"]:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    files = path.list_files("data", ["data[1].csv", "*/two.csv", "*one.csv"])
    assert list(files) == ["data[1].csv", "deep/two.csv", "one.csv"]
    hashes = {name: path.hash_file(file) for name, file in files.items()}
    record = fetch(entry(kind="path", path="data", files=hashes), out(tmp_path), LOG)
    assert list(record["files"]) == list(files)
    with pytest.raises(RetuneError, match=r"no file in data fits `three\.csv` \(there are: data\[1\]"):
        path.list_files("data", ["three.csv"])


def test_a_link_to_nowhere_is_named_where_a_table_needs_it(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/one.csv").write_text("a\n1\n")
    (tmp_path / "data/two.csv").symlink_to("/nowhere/two.csv")
    assert list(path.list_files("data", ["one.csv"])) == ["one.csv"]
    for patterns in (["two.csv"], ["*.csv"], None):
        with pytest.raises(RetuneError, match=r"data/two\.csv is a link to /nowhere/two\.csv, which does not exist"):
            path.list_files("data", patterns)


def test_a_lora_adapter_is_no_base(tmp_path):
    (tmp_path / "lora").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json"):
        (tmp_path / "lora" / name).write_text("{}")
    with pytest.raises(RetuneError, match=r"is a LoRA adapter, not a model: merge it into its base"):
        bring(entry(kind="path", path="lora"), out(tmp_path), LOG, data=False)


def test_an_absent_folder_names_itself_its_licence_and_the_remedy(tmp_path):
    with pytest.raises(RetuneError, match=r"licence: CC0-1.0.*absent does not exist: put the files there"):
        fetch(entry(kind="path", path="absent"), out(tmp_path), LOG)


# ---- sample and url


def test_a_sample_is_the_same_for_one_seed(tmp_path):
    source = entry(kind="sample", generator="similarity", seed=1, rows=100)
    first = fetch(source, out(tmp_path), LOG)
    again = fetch(source, out(tmp_path), LOG)
    assert first == again
    assert fetch(entry(kind="sample", generator="similarity", seed=2, rows=100), out(tmp_path), LOG) != first
    assert len((tmp_path / "out" / "pairs.csv").read_text().splitlines()) == 101


def test_a_sample_is_generated_without_torch_or_a_network_library(tmp_path):
    heavy = "{'torch', 'httpx', 'pydantic', 'transformers'}"
    code = f"import sys, stages.download, retune.sources.samples.similarity; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=path.__file__.rsplit("/", 3)[0]
    )
    assert done.stdout == "set()\n"


def test_a_url_is_fetched_and_checked(tmp_path):
    with Hub({"table.csv": b"a,b\n1,2\n"}).running() as hub:
        source = entry(kind="url", url=f"{hub.url}/file/table.csv?x=1", sha256=sha256(b"a,b\n1,2\n"))
        fetch(source, out(tmp_path), LOG)
        assert (tmp_path / "out" / "table.csv").read_bytes() == b"a,b\n1,2\n"
        with pytest.raises(RetuneError, match="has sha256"):
            fetch(Params({**source, "sha256": "0" * 64}), out(tmp_path), LOG)


def test_several_urls_are_fetched_under_their_names_an_archive_into_a_folder(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("rows.csv", "a\n2\n")
    content = {"train/data.csv": b"a\n1\n", "more.zip": packed.getvalue()}
    with Hub({"data.csv": content["train/data.csv"], "set.zip": content["more.zip"]}).running() as hub:
        urls = {"train/data.csv": f"{hub.url}/file/data.csv", "more.zip": f"{hub.url}/file/set.zip"}
        hashes = {name: sha256(data) for name, data in content.items()}
        record = fetch(entry(kind="url", url=urls, sha256=hashes), out(tmp_path), LOG)
    assert sorted(record["files"]) == ["more.zip/rows.csv", "train/data.csv"]
    assert record["sha256"] == hashes
    assert (tmp_path / "out/train/data.csv").read_bytes() == b"a\n1\n"


@pytest.mark.parametrize(
    ("names", "said"),
    [(("a.csv", "b.csv"), "`url` has a.csv and `sha256` has b.csv"), (("../a", "../a"), r"`\.\./a` can't be the name")],
)
def test_each_url_has_a_hash_and_a_name_that_stays_inside(names, said):
    table = {"file": "a", "columns": {"text": "a", "label": "b"}}
    source = {"kind": "url", "license": "x", "url": {names[0]: "https://x.org/a"}, "sha256": {names[1]: "0" * 64}}
    with pytest.raises(ValidationError, match=said):
        Source.model_validate({**source, "tables": [table]})


# ---- wheel


def cached(name: str, members: dict[str, bytes], version: str = "1.0") -> Params:
    """Put a wheel into the cache; its entry."""
    part = cache.folder() / "part.whl"
    with zipfile.ZipFile(part, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    digest = path.sha256(part)
    part.replace(cache.file("sha256", digest))
    return Params(package=name, version=version, sha256=digest, member=next(iter(members)))


def test_members_are_joined_in_order_and_checked(tmp_path):
    wheels = [cached("a", {"a/part0": b"one "}), cached("b", {"b/part1": b"two"})]
    target = tmp_path / "joined"
    assert wheel.join(wheel.fetch(wheels), target) == hashlib.sha256(b"one two").hexdigest()
    assert target.read_bytes() == b"one two"
    record = fetch(entry(kind="wheel", wheels=wheels), out(tmp_path), LOG)
    assert sorted(record["files"]) == ["part0", "part1"]


@pytest.mark.parametrize("member", ["../evil", "/etc/evil", "a/../../evil", "c:evil", "a\\..\\evil"])
def test_a_member_that_leaves_its_wheel_is_refused(member, tmp_path):
    entry = cached("a", {member: b"x"})
    with pytest.raises(RetuneError, match="leaves its wheel"):
        wheel.join([(cache.file("sha256", entry.sha256), member)], tmp_path / "joined")
    assert not (tmp_path.parent / "evil").exists()


def test_a_link_a_folder_and_an_absent_member_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder/", "")
    for member, reason in [("link", "not a plain file"), ("folder/", "not a plain file"), ("none", "no member `none`")]:
        with pytest.raises(RetuneError, match=reason):
            wheel.join([(tmp_path / "x.whl", member)], tmp_path / "joined")


def test_a_member_beyond_the_size_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel, "LARGEST_MEMBER", 3)
    entry = cached("a", {"a/data": b"four"})
    with pytest.raises(RetuneError, match="4 bytes, the limit is 3"):
        wheel.join(wheel.fetch([entry]), tmp_path / "joined")


def index(tmp_path, members: dict[str, bytes]) -> Params:
    """A package index of one folder with one wheel; pip is pointed to it."""
    folder = tmp_path / "index"
    folder.mkdir()
    file = folder / "tiny_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr("tiny_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n")
        archive.writestr(
            "tiny_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_data-1.0.dist-info/RECORD", "")
    return Params(package="tiny-data", version="1.0", sha256=path.sha256(file), member=next(iter(members)))


def test_pip_brings_a_wheel_once_and_only_with_the_pinned_hash(tmp_path, monkeypatch):
    entry = index(tmp_path, {"tiny/data.bin": b"bytes"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    with pytest.raises(RetuneError, match=r"could not download tiny-data==1\.0 with SHA-256 0000"):
        wheel.fetch([Params({**entry, "sha256": "0" * 64})])
    [(file, member)] = wheel.fetch([entry])
    assert wheel.extract(file, member, tmp_path).read_bytes() == b"bytes"
    (tmp_path / "index" / "tiny_data-1.0-py3-none-any.whl").unlink()
    assert wheel.fetch([entry]) == [(file, member)]
