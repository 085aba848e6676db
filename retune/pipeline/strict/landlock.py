"""Landlock: the Linux kernel refuses this process, its threads and its children what no rule allows (5.19 and newer).

Code of every language is held alike, and needs no rights for it: https://docs.kernel.org/userspace-api/landlock.html.
Opening, making, removing and renaming are held; `stat`, names of files below a folder that may be listed, and the
network are not.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

CREATE, ADD_RULE, RESTRICT = 444, 445, 446
"""Numbers of the system calls, the same on all of Linux' processors but Alpha."""

VERSION, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38
WITH_RENAMES = 2
"""The first version that allows renames from one folder to another, without which no output gets its name."""

WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in (1, 2, 3, 4, 5))
MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE = (1 << bit for bit in (7, 8, 9, 10, 12, 13, 14))

LIST = READ_DIR
READ = READ_FILE | READ_DIR
REPLACE = REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
"""Rename something into a folder, over what is there; neither read nor write it."""
ALL = READ | REPLACE | WRITE_FILE | TRUNCATE | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
OF_FILES = READ_FILE | WRITE_FILE | TRUNCATE


class Unavailable(Exception):
    """The kernel refuses to restrict this process."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """The kernel's version of Landlock; 0 where it has none, or one without renames."""
    if not sys.platform.startswith("linux"):
        return 0
    found = int(ctypes.CDLL(None).syscall(CREATE, None, ctypes.c_size_t(0), VERSION))
    return found if found >= WITH_RENAMES else 0


def running() -> list[str]:
    """Names of the threads that compute for polars already: `restrict` does not reach them."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if re.match(r"polars-\d|tokio-|async-", name)]


def restrict(rules: Mapping[Path, int]) -> None:
    """Allow this thread, and those and the processes that it starts, what `rules` say below each path; for good.

    What is not there is left out. Raises `Unavailable`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handled = ALL if version() > WITH_RENAMES else ALL & ~TRUNCATE
    ruleset = libc.syscall(CREATE, ctypes.byref(_Ruleset(handled)), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        raise Unavailable(os.strerror(ctypes.get_errno()))
    try:
        for path, rights in rules.items():
            try:
                folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                allowed = rights if stat.S_ISDIR(os.fstat(folder).st_mode) else rights & OF_FILES
                rule = ctypes.byref(_Beneath(allowed & handled, folder))
                if allowed and libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0):
                    raise Unavailable(f"{path}: {os.strerror(ctypes.get_errno())}")
            finally:
                os.close(folder)
        if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(RESTRICT, ruleset, 0):
            raise Unavailable(os.strerror(ctypes.get_errno()))
    finally:
        os.close(ruleset)
