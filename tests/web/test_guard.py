"""What stands before the page: passwords, names, other pages, closed routes, limits; nothing typed is logged."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from retune.cli.web import web
from retune.errors import RetuneError
from retune.web.files import Limits
from tests.support import web_project

pytestmark = pytest.mark.slow

TOKEN = b"a-token-of-24-characters"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with web_project.page("topics", limits=Limits(size=0.1)) as found:
        yield found


def basic(password: bytes) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(b"anybody:" + password).decode()}


def test_the_language_is_the_browsers(url: str) -> None:
    for header, place in (("zh-TW,en;q=0.5", "./zh/"), ("fr", "./en/")):
        answer = httpx.get(url, headers={"accept-language": header})
        assert (answer.status_code, answer.headers["location"]) == (307, place)


def test_only_what_the_page_needs_is_open(url: str) -> None:
    assert httpx.get(f"{url}/health").text == "ok\n"
    assert httpx.get(f"{url}/en/").status_code == 200
    assert httpx.get(f"{url}/en/config").status_code == 200
    assert httpx.get(f"{url}/results/abc/x.csv").status_code == 404
    assert httpx.get(f"{url}/results/é/x.csv").status_code == 404
    api, client = "gradio_api", httpx.Client()  # a new one for each request would take a second
    for path in (
        f"{api}/info", f"{api}/openapi.json", f"{api}/file=/etc/passwd", f"{api}/file/etc/passwd", f"{api}/runs",
        f"{api}/proxy=http://127.0.0.1", f"{api}/call/ask", f"{api}/api/predict", "monitoring", "monitoring/summary",
        f"{api}/app_id", f"{api}/token", f"{api}/vibe-code", "login", f"{api}/stream/x", "static/../../x",
        f"{api}/custom_component/x/x/x/x", f"{api}/component_server", f"{api}/dev/reload", "docs", "../openapi.json",
    ):  # fmt: skip
        for method in ("GET", "POST"):
            assert client.request(method, f"{url}/en/{path}", content=b"{}").status_code == 404, path
    assert httpx.delete(f"{url}/en/").status_code == 404


def test_a_page_without_a_password_answers_to_this_machines_names_alone(url: str) -> None:
    for host, status in (
        ("localhost:1", 200),
        ("[::1]:1", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ):
        assert httpx.get(f"{url}/en/", headers={"host": host}).status_code == status
    for origin, status in ((url, 422), ("http://evil.example", 403), ("null", 403)):
        answer = httpx.post(f"{url}/en/gradio_api/queue/join", headers={"origin": origin}, content=b"{}")
        assert answer.status_code == status


def test_the_browser_is_told_to_ask_nobody_else(url: str) -> None:
    headers = httpx.get(f"{url}/en/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_what_is_too_long_is_refused_before_it_is_read(url: str) -> None:
    files = {"files": ("x.csv", b"x" * 200_000)}
    answer = httpx.post(f"{url}/en/gradio_api/upload", files=files)
    assert answer.status_code == 413
    assert "more than the 170,393 that are read" in answer.text
    answer = httpx.post(f"{url}/en/gradio_api/queue/join", content=b"x" * 5 * 2**20)
    assert answer.status_code == 413
    answer = httpx.post(f"{url}/en/gradio_api/queue/join", content=iter([b"{}"]))
    assert answer.status_code == 411


def test_a_crafted_event_leaves_no_text_in_the_log(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    config = httpx.get(f"{url}/en/config").json()
    event = next(one for one in config["dependencies"] if len(one["inputs"]) == 3)
    body = {"data": ["no such model", ["no such dimension"], {"secret": "secret"}], "session_hash": "s"}
    with caplog.at_level(logging.ERROR):
        joined = httpx.post(f"{url}/en/gradio_api/queue/join", json={**body, "fn_index": event["id"]})
        assert joined.status_code == 200
        said = httpx.get(f"{url}/en/gradio_api/queue/data?session_hash=s", timeout=30).text
    assert '"success":false' in said
    out, errors = capfd.readouterr()
    assert "secret" not in out + errors + caplog.text
    assert "no such" not in out + errors + caplog.text
    assert "Error at " in caplog.text, "by its type and the places in the code"


def test_a_password_is_one_of_the_tokens() -> None:
    with web_project.page("topics", tokens=[b"another-one-of-24-letters", TOKEN]) as url:
        for headers in ({}, basic(b"wrong"), basic(b""), {"authorization": "Basic !"}, {"authorization": "Bearer x"}):
            answer = httpx.get(f"{url}/en/", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
            assert httpx.get(f"{url}/en/config", headers=headers).status_code == 401
            assert httpx.get(f"{url}/results/a/x.csv", headers=headers).status_code == 401
        for headers in (basic(TOKEN), {"authorization": f"Bearer {TOKEN.decode()}"}):
            assert httpx.get(f"{url}/en/", headers={**headers, "host": "page.example"}).status_code == 200
        assert httpx.get(f"{url}/health").status_code == 200


def test_an_upload_lies_in_the_pages_own_folder() -> None:
    with web_project.page("topics") as url:
        (place,) = httpx.post(f"{url}/en/gradio_api/upload", files={"files": ("x.csv", b"text")}).json()
        assert Path(os.environ["GRADIO_TEMP_DIR"]) in Path(place).parents
        assert Path(place).read_bytes() == b"text"
    assert not Path(place).exists()


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RetuneError, match=r"gradio is not installed: `pip install 'retune\[web\]'`"):
        web(["same"])


def test_the_command_refuses_other_machines_without_a_token_and_two_models_of_one_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(web_project.project())
    monkeypatch.delenv("RETUNE_SERVE_TOKENS", raising=False)
    with pytest.raises(RetuneError, match="set RETUNE_SERVE_TOKENS, or give --insecure"):
        web(["same"], host="0.0.0.0")
    with pytest.raises(RetuneError, match="two models are named same"):
        web(["same", str(Path("models/same").absolute())])
    with pytest.raises(RetuneError, match="there is no model `sam`; did you mean `same`"):
        web(["sam"])
