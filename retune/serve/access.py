"""Who may ask: bearer tokens from the environment, and where a server without one may listen."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from collections.abc import Sequence

from retune.errors import RetuneError

TOKENS = "RETUNE_SERVE_TOKENS"
"""The environment's variable: tokens between commas or spaces; several while one replaces another."""

SHORTEST = 16


def tokens() -> list[bytes]:
    """The tokens of the environment. Raises `RetuneError` for a short one, and for a variable that holds none."""
    if TOKENS not in os.environ:
        return []
    found = os.environ[TOKENS].replace(",", " ").split()
    if not found or min(map(len, found)) < SHORTEST:
        raise RetuneError(
            f"{TOKENS} must hold tokens of at least {SHORTEST} characters, such as `openssl rand -hex 32` gives; "
            "unset it to serve without one"
        )
    return [token.encode() for token in found]


def allowed(header: bytes | None, known: Sequence[bytes]) -> bool:
    """Whether the header `Authorization` bears one of the tokens; each is compared, in the same time."""
    scheme, _, given = (header or b"").partition(b" ")
    matches = [hmac.compare_digest(given.strip(), token) for token in known]
    return scheme.lower() == b"bearer" and any(matches)


def check(host: str, known: Sequence[bytes], insecure: bool) -> None:
    """Raise `RetuneError` where anybody on the network could ask: no token, and an address that is not loopback."""
    if known or insecure or is_loopback(host):
        return
    raise RetuneError(
        f"--host {host} is reached from other machines, and no token protects it: set {TOKENS}, or give --insecure"
    )


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are this machine's own."""
    try:
        found = socket.getaddrinfo(host or None, 0, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise RetuneError(f"--host {host} is no address of this machine ({error.strerror})") from None
    return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)
