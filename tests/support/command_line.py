"""The command line `retune`, in this process: another one would import torch again for each command."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from unittest import mock

from retune import cli


def run(root: Path, *arguments: str, text: str = "", fails: bool = False) -> tuple[str, str]:
    """Run it in a project with `text` typed in; what it printed, and what it said on standard error."""
    out, errors, code = io.StringIO(), io.StringIO(), None
    warnings = logging.StreamHandler(errors)  # what Python does with warnings where nobody else listens
    warnings.setLevel(logging.WARNING)
    with (
        contextlib.chdir(root),
        mock.patch("sys.argv", ["retune", *arguments]),
        mock.patch("sys.stdin", io.StringIO(text)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        logging.getLogger("retune").addHandler(warnings)
        try:
            cli.app()
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                errors.write(code + "\n")
        finally:
            logging.getLogger("retune").removeHandler(warnings)
    assert bool(code) == fails, out.getvalue() + errors.getvalue()
    return out.getvalue(), errors.getvalue()


def printed(root: Path, *arguments: str, fails: bool = False) -> str:
    """All that it printed, standard error last."""
    return "".join(run(root, *arguments, fails=fails))
