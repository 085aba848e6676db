"""A file that is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path beside `target`: the file written there replaces `target` when the block succeeds, and vanishes if not.

    Its name is this process's own, so that two processes may write the same target. It has the mode of a new file,
    whoever wrote it (safetensors and temporary files have one for the owner alone).
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.touch()
        mode = stat.S_IMODE(part.stat().st_mode)  # asking for the umask would change it for other threads
        part.unlink()
        yield part
        part.chmod(mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
