"""How long to wait before another attempt at a request that failed in passing."""

from __future__ import annotations

import email.utils
import time

PAUSE, LONGEST, LONGEST_ASKED = 1.0, 60.0, 600.0
"""Seconds before the second attempt, doubled with each further one up to the next; the last bounds `Retry-After`."""


def pause(failures: int, asked: float | None) -> float:
    """Seconds to wait after so many failures in a row; `asked` is what the server asks for, if it does."""
    return min(PAUSE * 2 ** (failures - 1), LONGEST) if asked is None else min(asked, LONGEST_ASKED)


def asked(header: str | None) -> float | None:
    """The seconds that a `Retry-After` header (seconds or a date) asks for; None where it has none to read."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
