"""HTTP to an engine: what it refuses, and what it does not answer, is told without a text of the request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx

from retune.errors import RetuneError
from retune.serve.refusal import Unavailable

log = logging.getLogger("retune")

PATIENCE = 600.0
"""Seconds that an engine that somebody else started may take until it answers."""


class Endpoint:
    """An engine at `url`, which ends before /v1; `token` goes into the header of the requests and nowhere else."""

    def __init__(self, url: str, token: str = "", timeout: float = 60.0) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def wait(self, alive: Callable[[], bool] | None = None) -> None:
        """Wait until it answers. Raises `RetuneError` where it ends first (not `alive`), or takes `PATIENCE`."""
        end = time.monotonic() + PATIENCE
        while not self._healthy():
            if alive is not None and not alive():
                raise RetuneError("the engine ended before it answered: its own lines above say why")
            if alive is None and time.monotonic() > end:
                raise RetuneError(f"{self.url}/health does not answer: is the engine running, and --engine-url right?")
            time.sleep(0.2)

    def models(self) -> list[str]:
        """The names that it serves. Raises `RetuneError` where it refuses the token."""
        answer = self.client.get("/v1/models")
        if answer.status_code in (401, 403):
            raise RetuneError(f"{self.url} refuses the token: set that of the engine as RETUNE_ENGINE_TOKEN")
        try:
            return [str(one["id"]) for one in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            raise RetuneError(f"{self.url}/v1/models answers with status {answer.status_code} and no models") from None

    def post(self, route: str, body: dict[str, Any]) -> Any:
        """The JSON of an answer. Raises `Unavailable` where there is none."""
        try:
            answer = self.client.post(route, json=body)
        except httpx.TimeoutException:
            raise Unavailable(504, "the engine did not answer in time (--timeout): ask for less at a time") from None
        except httpx.HTTPError as error:
            raise Unavailable(503, f"the engine can't be reached ({type(error).__name__}): try again soon") from None
        if answer.status_code != 200:  # its message may hold the request's text
            log.error("%s%s answered with status %d", self.url, route, answer.status_code)
            status = 503 if answer.status_code in (429, 503) else 502
            raise Unavailable(status, f"the engine answered with status {answer.status_code}: its log says why")
        try:
            return answer.json()
        except ValueError:
            raise Unavailable(502, "the engine answered with no JSON") from None

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _healthy(self) -> bool:
        try:
            return self.client.get("/health").status_code == 200
        except httpx.HTTPError:
            return False
