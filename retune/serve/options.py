"""What a server allows: each limit is told, with the value that broke it, where a request is refused."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Options:
    """The limits of a server, as the options of `retune serve` name them.

    `max_batch`: texts, pairs or documents of one request; `max_body`: bytes of one; `max_tokens`: of one text;
    `queue`: rows that may wait for a model; `timeout`: seconds in which a request must have come, and those in which it
    must be answered; `batch_seconds`: about how long a batch may take, which is what a request waits for at most before
    its own batch begins; `access_log`: a line for each request, without its text.
    """

    max_batch: int = 256
    max_body: int = 4 * MIB
    max_tokens: int = 8192
    queue: int = 1024
    timeout: float = 60.0
    batch_seconds: float = 2.0
    access_log: bool = False
