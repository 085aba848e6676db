"""A server of a model that takes its time, in a process of its own: `python -m tests.support.slow_server SECONDS`.

It labels a text by its first letter, and loads in the time that the service itself needs. Prints its address.
"""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

from retune.exports.decisions import abstention
from retune.params import Params
from retune.serve.options import Options
from retune.serve.server import serve


class Slow:
    """What the service needs of a model."""

    name, texts, fitted = "slow", ("text",), SimpleNamespace()
    spec = Params(kind="classification", learner="linear", labels=["a", "b"])
    predictor = None
    abstention = staticmethod(abstention)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def predict(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """A label for each row, after the seconds."""
        time.sleep(self.seconds)
        if any(row["text"] == "a secret that breaks it" for row in rows):
            raise ValueError(f"broken by {rows}")
        return [{"label": row["text"][0], "probability": 1.0, "truncated": False} for row in rows]


if __name__ == "__main__":
    model: Any = Slow(float(sys.argv[1]))
    serve([model], "127.0.0.1", 0, Options(), say=lambda line: print(line, flush=True))
