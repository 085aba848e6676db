"""The words for an error of a full disk or a folder that can't be written, whichever library met it.

Nothing here can change what a stage computes (retune.pipeline.fingerprint.UNCOUNTED).
"""

from __future__ import annotations

import errno
import re
import shutil

FULL = (errno.ENOSPC, errno.EDQUOT)
TEXT = re.compile(r"No space left on device|os error 28\b|code: 28\b")
"""How libraries in C++ and Rust tell it."""


def sentence(error: BaseException) -> str:
    """What to say to the user; empty for every other error."""
    place = f" ({name})" if (name := getattr(error, "filename", None)) else ""
    if getattr(error, "errno", None) in (errno.EROFS, errno.EACCES) and place:
        return f"nothing can be written or read there: {error}; mend that and run the same command again"
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in FULL or TEXT.search(str(seen)):
            return f"the disk is full{place}: make room and run the same command again"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, OSError | RuntimeError) and shutil.disk_usage(".").free < 1 << 20:
        return f"the disk is full ({error}): make room and run the same command again"
    return ""
