"""The process: addresses, uvicorn, and an end that answers what was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from retune.errors import RetuneError
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
        sockets = [opened.enter_context(_bound(host, number)) for number in groups]
        applications: dict[int, ASGIApp] = {}
        lines = []
        for bound, group in zip(sockets, groups.values(), strict=True):
            here = [Served(model, options, metrics) for model in group]
            for one in here:
                opened.callback(one.close)
                one.warm_up()
            address, number = bound.getsockname()[:2]
            applications[number] = create(here, options, tokens, metrics, state)
            url = f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
            lines.append(f"{url}  {', '.join(one.name for one in here)}")
        config = uvicorn.Config(
            by_port(applications), log_config=None, access_log=False, lifespan="off", server_header=False, ws="none",
            timeout_graceful_shutdown=int(options.timeout) + 5,
        )  # fmt: skip
        Server(config, state, lambda: say("\n".join(lines))).run(sockets)


class Server(uvicorn.Server):
    """A uvicorn that, told to end, answers what is already on its way, and exits with 0."""

    def __init__(self, config: uvicorn.Config, state: State, started: Callable[[], object]) -> None:
        super().__init__(config)
        self.state, self.begun = state, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """End on SIGTERM and SIGINT; a second one does not hurry it, SIGKILL does."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._end)
        try:
            yield
        finally:
            for one in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(one)

    def _end(self) -> None:
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


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an address of this machine, not yet listening."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise RetuneError(
            f"can't serve at {host}:{port} ({error.strerror}): give another --port, or end what is there"
        ) from None
    return bound
