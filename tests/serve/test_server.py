"""A real server in a process of its own: it answers on its address, and on SIGTERM all that it accepted."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from retune.errors import RetuneError
from retune.params import Params
from retune.serve.options import Options
from retune.serve.server import by_port, default_port, serve
from tests.support import ROOT
from tests.support.slow_server import Slow

pytestmark = pytest.mark.slow

DEADLINE = 60.0


@contextmanager
def running(seconds: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a slow model's server, and its process."""
    command = [sys.executable, "-m", "tests.support.slow_server", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()
        assert address, process.communicate()[1]
        yield address[0], process
    finally:
        process.kill()
        process.communicate()


def test_on_sigterm_every_accepted_request_is_answered_and_the_server_ends_with_0() -> None:
    with running(0.3) as (url, process):
        asked, done = threading.Semaphore(0), threading.Event()

        def client(number: int) -> list[int]:
            """Ask again and again until the server takes no more; the labels that came."""
            statuses = []
            with httpx.Client(base_url=url, timeout=DEADLINE) as connection:
                while not done.is_set():
                    asked.release()
                    try:
                        answer = connection.post("/classify", json={"texts": ["abc"[number % 3]]})
                    except httpx.ConnectError:
                        break
                    assert answer.json()["results"][0]["label"] == "abc"[number % 3]
                    statuses.append(answer.status_code)
            return statuses

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            tasks = [pool.submit(client, number) for number in range(16)]
            for _ in range(40):
                asked.acquire(timeout=DEADLINE)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
            done.set()
            statuses = [task.result() for task in tasks]  # no read error: what was sent was answered
        assert all(set(some) == {200} for some in statuses)
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_ending_server_is_not_ready_and_closes_its_connections() -> None:
    with running(0.5) as (url, process), httpx.Client(base_url=url, timeout=DEADLINE) as connection:
        assert connection.get("/ready").status_code == 200
        with concurrent.futures.ThreadPoolExecutor(1) as pool, httpx.Client(base_url=url, timeout=DEADLINE) as other:
            under_way = pool.submit(other.post, "/classify", json={"texts": ["a"]})
            time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            ready = connection.get("/ready")
            assert (ready.status_code, ready.headers["connection"]) == (503, "close")
            assert under_way.result().json()["results"][0]["label"] == "a"
        assert process.wait(DEADLINE) == 0


def test_an_address_that_is_taken_is_told() -> None:
    models: list[Any] = [Slow(0.0)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RetuneError, match=f"can't serve at 127.0.0.1:{port} \\(Address already in use\\)"):
            serve(models, "127.0.0.1", port, Options())


def test_models_of_two_ports_answer_at_their_own() -> None:
    asked: list[int] = []

    def application(port: int) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            asked.append(port)

        return answer

    both: Any = by_port({8001: application(8001), 8002: application(8002)})
    for port in (8002, 8001):
        asyncio.run(both({"type": "http", "server": ("127.0.0.1", port)}, None, None))
    assert asked == [8002, 8001]


def test_the_ports_are_those_of_the_reference() -> None:
    """Vectors at 8001, rankings at 8002."""
    specs = {("embedder", "ranking"): 8001, ("embedder", "pair"): 8001, ("encoder", "ranking"): 8002}
    specs |= {("linear", "ranking"): 8002, ("llm", "ranking"): 8002, ("encoder", "classification"): 8000}
    assert {key: default_port(Params(learner=key[0], kind=key[1])) for key in specs} == specs
