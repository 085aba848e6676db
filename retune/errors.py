"""The one error that is meant for users, and the sentence about a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


class RetuneError(Exception):
    """Something a user can mend: the message names value, place, limit and remedy, in a sentence or two.

    Stages and the command line print it without a traceback and exit with 1.
    """


def unknown(what: str, name: str, known: Iterable[str], where: str = "") -> str:
    """The sentence about an unknown name, with the nearest known one and all that there are."""
    names = list(known)
    listed = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return f"there is no {what} `{name}`{where}{nearest(name, names)} (known: {listed or 'none'})"


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean ...?` where a known name is close, else nothing."""
    import difflib

    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
