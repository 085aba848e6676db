"""What a server of this project is to its machine: a socket, an address that is said, an end by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Generator

import uvicorn

from retune.errors import RetuneError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """A uvicorn that calls `started` when it listens, and that a signal ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], object]) -> None:
        super().__init__(config)
        self.begun = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Let SIGTERM and SIGINT call `told_to_end`; uvicorn itself would raise them again at its end."""
        loop = asyncio.get_running_loop()
        for one in SIGNALS:
            loop.add_signal_handler(one, self.told_to_end)
        try:
            yield
        finally:
            for one in SIGNALS:
                loop.remove_signal_handler(one)

    def told_to_end(self) -> None:
        """End; at the second signal without waiting for what is still being answered."""
        self.force_exit, self.should_exit = self.should_exit, True


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address of this machine, not yet listening. Raises `RetuneError` for one that can't be taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
        except OSError:
            found.close()
            raise
    except OSError as error:
        raise RetuneError(
            f"can't serve at {host}:{port} ({error.strerror}): give another --port, or end what is there"
        ) from None
    return found


def url(taken: socket.socket) -> str:
    """The address of a socket, as a browser takes it."""
    address, number = taken.getsockname()[:2]
    return f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
