"""A Markdown text as its reader sees it."""

from __future__ import annotations

import re


def tables(summary: str) -> list[list[list[str]]]:
    """The tables of a Markdown text as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", summary, flags=re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.strip().splitlines()] for block in blocks]
