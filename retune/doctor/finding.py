"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do about it; a `problem` would stop the build."""

    about: str
    state: str
    said: str
    remedy: str = ""

    def line(self) -> str:
        """One line of text."""
        return f"{self.state:8} {self.about}: {self.said}" + (f" -> {self.remedy}" if self.remedy else "")
