"""How long a server asks to wait before the next attempt."""

from __future__ import annotations

import email.utils
import time


def seconds(header: str | None) -> float | None:
    """What a `Retry-After` header (seconds or a date) asks for; None where there is none that can be read."""
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
