"""What a user is promised of a download: it resumes, retries, checks the hash and the disk, and is kept once."""

import shutil
import threading
import time
from email.utils import formatdate

import pytest

from retune.errors import RetuneError
from retune.sources import cache, http, retry
from tests.support.hub_server import Hub, busy, cut, other, sha256, whole

DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "PAUSE", 0.001)


@pytest.fixture
def hub():
    with Hub({"data.bin": DATA}).running() as running:
        yield running


def remote(hub, **fields):
    return http.Remote(**({"url": f"{hub.url}/file/data.bin", "name": "data.bin", "digest": sha256(DATA)} | fields))


def test_a_cut_download_goes_on_where_it_stopped(hub):
    hub.faults = [cut(300_000), cut(200_000)]
    assert http.fetch(remote(hub, size=len(DATA))).read_bytes() == DATA
    assert [request.headers.get("Range") for request in hub.seen] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_killed_download_goes_on_in_the_next_run(hub, monkeypatch):
    hub.faults = [cut(300_000)]
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    with pytest.raises(RetuneError, match="goes on where it stopped"):
        http.fetch(remote(hub, size=len(DATA)))
    assert http.fetch(remote(hub, size=len(DATA))).read_bytes() == DATA
    assert hub.seen[-1].headers["Range"] == "bytes=300000-"


def test_a_server_without_ranges_is_read_from_the_start(hub):
    hub.faults = [cut(300_000), whole]
    assert http.fetch(remote(hub, size=len(DATA))).read_bytes() == DATA


def test_a_resumed_file_with_a_wrong_start_is_fetched_anew(hub):
    partial = cache.file("sha256", sha256(DATA)).with_name(sha256(DATA) + ".partial")
    partial.write_bytes(b"x" * 1000)
    assert http.fetch(remote(hub)).read_bytes() == DATA
    assert [request.headers.get("Range") for request in hub.seen] == ["bytes=1000-", None]


def test_a_whole_partial_file_is_not_fetched_again(hub):
    cache.file("sha256", sha256(DATA)).with_name(sha256(DATA) + ".partial").write_bytes(DATA)
    assert http.fetch(remote(hub, size=len(DATA))).read_bytes() == DATA
    assert hub.seen == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(hub, status):
    hub.faults = [busy(status=status), busy(status=status)]
    assert http.fetch(remote(hub)).read_bytes() == DATA
    assert len(hub.seen) == 3


@pytest.mark.slow
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_pause_that_a_server_asks_for_is_kept(hub, form):
    hub.faults = [busy("1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True))]
    start = time.monotonic()
    http.fetch(remote(hub))
    assert time.monotonic() - start >= 0.9


def test_a_server_that_stays_busy_is_given_up_with_the_remedy(hub):
    hub.faults = [busy()] * 20
    with pytest.raises(RetuneError, match=r"in 6 attempts \(status 503\)"):
        http.fetch(remote(hub))
    assert len(hub.seen) == 6


def test_a_file_with_another_hash_is_refused_and_not_kept(hub):
    hub.faults = [other]
    with pytest.raises(RetuneError, match=f"expected {sha256(DATA)}"):
        http.fetch(remote(hub))
    assert not [path for path in cache.folder().rglob("*") if path.is_file() and path.parent.name != "locks"]
    assert http.fetch(remote(hub)).read_bytes() == DATA


def test_a_full_disk_is_told_before_the_first_byte(hub, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(RetuneError, match=r"data.bin needs .* GiB in .*RETUNE_CACHE"):
        http.fetch(remote(hub, size=len(DATA)))
    assert hub.seen == []
    with pytest.raises(RetuneError, match="are free"):
        http.fetch(remote(hub))
    assert not cache.file("sha256", sha256(DATA)).with_name(sha256(DATA) + ".partial").exists()


def test_a_second_clone_downloads_nothing(hub):
    http.fetch(remote(hub))
    http.fetch(remote(hub))
    assert len(hub.seen) == 1


def test_two_processes_fetch_a_file_once(hub):
    hub.faults = [lambda answer, data: (time.sleep(0.2), answer.part(data))]
    threads = [threading.Thread(target=http.fetch, args=(remote(hub),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.seen) == 1
    assert http.fetch(remote(hub)).read_bytes() == DATA


def test_a_missing_file_is_told_at_once(hub):
    with pytest.raises(RetuneError, match="status 404: check the address"):
        http.fetch(remote(hub, url=f"{hub.url}/nothing"))
    assert len(hub.seen) == 1


def test_an_unreachable_host_is_told(hub):
    with pytest.raises(RetuneError, match="check the network"):
        http.fetch(remote(hub, url="http://127.0.0.1:9/data.bin"))
