"""The process: addresses, uvicorn, and an end that answers what was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from retune.serve import listening
from retune.serve.app import create
from retune.serve.metrics import Metrics
from retune.serve.middleware import State
from retune.serve.served import Served

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from retune.inference import Model
    from retune.params import Params
    from retune.serve.options import Options

log = logging.getLogger("retune")

EMBEDDER, RANKING, OTHER = 8001, 8002, 8000
"""Default ports of models: those of the reference, and one for all that it does not have."""

GRACE = 0.5
"""Seconds in which an ending server still reads what is on its way on open connections."""


def default_port(spec: Params) -> int:
    """Where the model of a spec is served if no port is said."""
    if spec.learner == "embedder":
        return EMBEDDER
    return RANKING if spec.kind == "ranking" else OTHER


def serve(
    models: Sequence[Model],
    host: str,
    port: int | None,
    options: Options,
    tokens: Sequence[bytes] = (),
    say: Callable[[str], None] = log.info,
) -> None:
    """Serve models until SIGTERM or SIGINT, and end when all that was accepted is answered.

    Those of one port are told apart by `model` of a request; `port` is that of all (0: a free one), or else each has
    its default one. `say` is told each address, once it answers there. Raises `RetuneError` for an address that can't
    be taken.
    """
    metrics, state = Metrics(), State()
    groups: dict[int, list[Model]] = {}
    for model in models:
        groups.setdefault(default_port(model.spec) if port is None else port, []).append(model)
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(listening.bound(host, number)) for number in groups]
        applications: dict[int, ASGIApp] = {}
        lines = []
        for taken, group in zip(sockets, groups.values(), strict=True):
            here = [Served(model, options, metrics) for model in group]
            for one in here:
                opened.callback(one.close)
                one.warm_up()
            applications[taken.getsockname()[1]] = create(here, options, tokens, metrics, state)
            lines.append(f"{listening.url(taken)}  {', '.join(one.name for one in here)}")
        config = uvicorn.Config(
            by_port(applications), log_config=None, access_log=False, lifespan="off", server_header=False, ws="none",
            timeout_graceful_shutdown=int(options.timeout) + 5,
        )  # fmt: skip
        Server(config, state, lambda: say("\n".join(lines))).run(sockets)


class Server(listening.Server):
    """One that, told to end, answers what is already on its way; a second signal does not hurry it, SIGKILL does."""

    def __init__(self, config: uvicorn.Config, state: State, started: Callable[[], object]) -> None:
        super().__init__(config, started)
        self.state = state

    def told_to_end(self) -> None:
        """Say so to the routes, and end."""
        self.state.draining = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections; a request that comes on an open one is answered, and closes it."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(GRACE)
        await super().shutdown(sockets)


def by_port(applications: dict[int, ASGIApp]) -> ASGIApp:
    """The application of the port that a request came to."""
    (only, *others) = applications.values()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        chosen: Any = applications.get((scope.get("server") or ("", 0))[1], only) if others else only
        await chosen(scope, receive, send)

    return application
