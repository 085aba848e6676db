"""Where one provenance differs from another, or from what is installed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retune.training.provenance import differing, installed


def differences(built: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """In words, everything but the data in which one provenance differs from another."""
    found = list(differing({"python": built.get("python")}, {"python": here.get("python")}))
    for part in ("packages", "machine"):
        before, now = built.get(part, {}), here.get(part, {})
        found += differing({name: before.get(name) for name in {**before, **now}}, now)
    return found


def packages(built: Mapping[str, Any]) -> list[str]:
    """In words, the packages of a provenance that have another version here."""
    before = built.get("packages", {})
    return list(differing(before, installed(before)))
