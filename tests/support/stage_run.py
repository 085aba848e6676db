"""A stage, run in the process of the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from unittest.mock import patch


def run(stage: Callable[[], None], instance: str) -> None:
    """Run a stage in this process, as its command line would."""
    with patch.object(sys, "argv", ["stage", instance]):
        stage()
