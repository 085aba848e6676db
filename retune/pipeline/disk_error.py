"""The words for an error of a full disk or a folder that can't be written, whichever library met it.

Nothing here can change what a stage computes (retune.pipeline.uncounted).
"""

from __future__ import annotations

import errno
import re

FULL = (errno.ENOSPC, errno.EDQUOT)
TEXT = re.compile(r"No space left on device|os error 28\b|code: 28\b|PytorchStreamWriter failed writing")
"""How libraries in C++ and Rust tell it."""


def sentence(error: BaseException) -> str:
    """What to say to the user; empty for every other error."""
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES) and error.filename:
        return f"nothing can be written or read there: {error}; mend that and run the same command again"
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in FULL or TEXT.search(str(seen)):
            return f"the disk is full ({seen}): make room and run the same command again"
        seen = seen.__cause__ or seen.__context__
    return ""
