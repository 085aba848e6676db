"""Small models that are served: trained once for all tests of a run, asked in this process or over loopback."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import shlex
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from retune import inference
from retune.exports.folder import CARD
from retune.exports.protocol import PLAIN
from retune.inference import Model
from retune.serve.app import create
from retune.serve.metrics import Metrics
from retune.serve.middleware import State
from retune.serve.options import Options
from retune.serve.served import Served
from tests.support import ROOT, exported

NAMES = {
    "retriever": "retriever",
    "reranker": "reranker",
    "pairs": "embedder",
    "texts": "mean of a text",
    "scores": "linear scores",
}
"""Name here -> one of `exported.kinds`."""


def _place() -> Path:
    """A folder that goes with this process."""
    place = Path(tempfile.mkdtemp(prefix="served-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@functools.cache
def folder(name: str) -> Path:
    """The exported folder of a small model."""
    place = _place()
    spec, rows, fitted, pooler = exported.kinds()[NAMES[name]]
    return exported.export(exported.model(place, spec, rows, fitted, pooler), place / name)


def in_dtype(name: str, dtype: str) -> Model:
    """The model, computing in another dtype than this machine's."""
    copy = _place() / name
    shutil.copytree(folder(name), copy)
    card = json.loads((copy / CARD).read_text(encoding="utf-8"))
    card["spec"]["hardware"] = {**PLAIN, "dtype": dtype}
    (copy / CARD).write_text(json.dumps(card), encoding="utf-8")
    return inference.load(copy)


@functools.cache
def model(name: str) -> Model:
    """The model, by the name of its role."""
    found = dataclasses.replace(inference.load(folder(name)), name=name)
    if name == "retriever":
        predictor: Any = found.predictor
        predictor.prefixes.update(query="query: ", document="passage: ")
    return found


def commands() -> list[tuple[str, dict[str, Any]]]:
    """URL and body of the lines of docs/serve.md that begin with `curl`."""
    return [(url, json.loads(body)) for _, url, _, body in lines()]


def lines() -> list[list[str]]:
    """The words of the lines of docs/serve.md that begin with `curl`."""
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8").replace("\\\n", "")
    return [shlex.split(line) for line in text.splitlines() if line.startswith("curl ")]


@contextlib.contextmanager
def listening(*models: Any) -> Iterator[str]:
    """The address of a server on loopback, in a thread of this process, with some models."""
    service = Service(*models)
    config = uvicorn.Config(service.client.app, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            service.close()


class Service:
    """An application around some models and a client of it."""

    def __init__(self, *models: Any, tokens: tuple[bytes, ...] = (), **limits: Any) -> None:
        options = Options(**limits)
        self.metrics, self.state = Metrics(), State()
        self.served = [Served(one, options, self.metrics) for one in models]
        self.client = TestClient(create(self.served, options, tokens, self.metrics, self.state))

    def post(self, route: str, body: Any, status: int = 200, **more: Any) -> dict[str, Any]:
        """The answer to a body, of which the status is expected."""
        answer = self.client.post(route, json=body, **more)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def close(self) -> None:
        """End the workers."""
        for one in self.served:
            one.close()
