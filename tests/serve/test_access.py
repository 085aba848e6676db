"""Who may ask: tokens of the environment, and no open door to the network by accident."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retune.errors import RetuneError
from retune.serve import access
from retune.serve.options import Options
from tests.support.command_line import run
from tests.support.served import Service
from tests.support.slow_server import Slow

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_only_a_token_opens_and_health_needs_none() -> None:
    service = Service(Slow(0.0), tokens=(OTHER.encode(), TOKEN.encode()))
    body = {"texts": ["a"]}
    for header in (None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN):
        headers = {} if header is None else {"Authorization": header}
        error = service.post("/classify", body, 401, headers=headers)["error"]
        assert error["message"] == "give `Authorization: Bearer TOKEN` with a token of this server"
        for route in ("/metrics", "/openapi.json", "/v1/models", "/nothing"):
            assert service.client.get(route, headers=headers).status_code == 401
    assert service.client.post("/classify", json=body).headers["www-authenticate"] == "Bearer"
    for token in (TOKEN, OTHER):
        assert (
            service.post("/classify", body, headers={"authorization": f"bearer {token}"})["results"][0]["label"] == "a"
        )
    assert service.client.get("/health").status_code == service.client.get("/ready").status_code == 200
    service.close()


def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    monkeypatch.setattr(
        access.hmac, "compare_digest", lambda given, token: bool(compared.append(token)) or given == token
    )
    assert access.allowed(f"Bearer {TOKEN}".encode(), [TOKEN.encode(), OTHER.encode()])
    assert compared == [TOKEN.encode(), OTHER.encode()], "all are compared, whichever fits"


def test_tokens_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.TOKENS, raising=False)
    assert access.tokens() == []
    monkeypatch.setenv(access.TOKENS, f" {TOKEN}, {OTHER}\n")
    assert access.tokens() == [TOKEN.encode(), OTHER.encode()]
    for value in ("", " , ", "short", f"{TOKEN} short"):
        monkeypatch.setenv(access.TOKENS, value)
        with pytest.raises(RetuneError, match="at least 16 characters"):
            access.tokens()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_may_ask_without_a_token(host: str) -> None:
    access.check(host, [], insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2"])
def test_other_machines_may_not_unless_it_is_said(host: str) -> None:
    with pytest.raises(RetuneError, match=r"no token protects it: set RETUNE_SERVE_TOKENS, or give --insecure"):
        access.check(host, [], insecure=False)
    access.check(host, [], insecure=True)
    access.check(host, [TOKEN.encode()], insecure=False)


def test_the_command_refuses_before_it_loads_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(access.TOKENS, raising=False)
    (tmp_path / "models").mkdir()
    assert "no token protects it" in run(tmp_path, "serve", "nothing", "--host", "0.0.0.0", fails=True)[1]
    assert "there is no model `nothing`" in run(tmp_path, "serve", "nothing", fails=True)[1]


def test_the_command_serves_names_of_the_project_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from retune import inference
    from retune.serve import server

    asked: list[Path] = []

    def load(place: str | Path) -> SimpleNamespace:
        asked.append(Path(place))
        return SimpleNamespace(name=asked[-1].name)

    started: list[Any] = []
    monkeypatch.delenv(access.TOKENS, raising=False)
    monkeypatch.setattr(inference, "load", load)
    monkeypatch.setattr(server, "serve", lambda *given: started.append(given[:5]))
    (tmp_path / "models").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here/export.json").touch()
    run(tmp_path, "serve", "intent_llm", "exports/small", "here", "--port", "9", "--max-batch", "7", "--timeout", "1.5")
    assert asked == [Path("models/intent_llm"), Path("exports/small"), Path("here")]
    ((models, host, port, options, tokens),) = started
    assert [one.name for one in models] == ["intent_llm", "small", "here"]
    assert (host, port, options, tokens) == ("127.0.0.1", 9, Options(max_batch=7, timeout=1.5), [])
    said = run(tmp_path, "serve", "small", "exports/small", fails=True)[1]
    assert "two models are named small: serve them in two processes, with a --port each" in said
