"""Send an export to a hub: `retune publish intent_encoder --to hf:owner/name`, private, and never without its proof.

The token comes from the environment alone and is in no message. What is sent are the files that parity.json names by
their hashes, the card and parity.json itself.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from retune.errors import RetuneError, unknown
from retune.exports import hashes
from retune.exports.folder import CARD, read_card
from retune.exports.parity import FILE, words
from retune.params import Params

FOLDER = Path("exports")
TARGET = re.compile(r"(hf|ms):([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)", re.ASCII)
HUBS = {"hf": "retune.exports.to_huggingface", "ms": "retune.exports.to_modelscope"}
PLAIN = {".gitattributes", ".gitignore", "README.md", "LICENSE", "configuration.json"}
"""What a hub itself puts into a new repository."""
ALLOWED = 1e-9
"""What a tolerance loses when it is written down."""


@dataclass(frozen=True)
class Export:
    """A proven export: its folder, its files (name -> place), export.json and parity.json."""

    name: str
    folder: Path
    files: dict[str, Path]
    card: Params
    parity: dict[str, Any]


class Hub(Protocol):
    """A module that uploads."""

    TOKENS: tuple[str, ...]
    """Variables that may hold the token, the first found counts."""

    def address(self, repo: str) -> str:
        """The page of a repository."""

    def upload(self, export: Export, repo: str, public: bool, token: str) -> str:
        """Make the repository if it is not there, and upload; the page of what was made. Raises `RetuneError`."""


def publish(name: str, to: str, public: bool, dry_run: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Check the proof of exports/NAME, say what is sent and where, and send it.

    Gives the same: file -> bytes, where to, `public`, the licences, and the page of what was `published`, None in a dry
    run. Raises `RetuneError` for an unknown export, one whose proof is not of its files, a target or a token that is
    wrong, and for what the hub refuses.
    """
    match = TARGET.fullmatch(to)
    if not match:
        raise RetuneError(f"--to {to}: write hf:OWNER/NAME (Hugging Face) or ms:OWNER/NAME (ModelScope)")
    kind, owner, repository = match.groups()
    repo = f"{owner}/{repository}"
    hub: Hub = import_module(HUBS[kind])
    export = proven(FOLDER, name)
    sizes = {file: place.stat().st_size for file, place in export.files.items()}
    say(f"{export.folder}: {len(sizes)} files, {sum(sizes.values()) / 1e6:,.1f} MB")
    for file, size in sizes.items():
        say(f"  {size:>15,}  {file}")
    say(f"to {hub.address(repo)}, {'public' if public else 'private'}")
    say(f"licence: {licence(export.card)}")
    say(words(export.parity))
    sent: dict[str, Any] = {"files": sizes, "to": hub.address(repo), "public": public, "licence": licence(export.card)}
    if dry_run:
        say("dry run: nothing was sent")
        return {**sent, "published": None}
    token = next((found.strip() for one in hub.TOKENS if (found := os.environ.get(one)) and found.strip()), None)
    if token is None:
        raise RetuneError(f"{hub.TOKENS[0]} is not set: put a token of {owner} with write access into it")
    page = hub.upload(export, repo, public, token)
    say(f"published: {page}")
    return {**sent, "published": page}


def proven(folder: Path, name: str) -> Export:
    """The export NAME, whose files are those that were proven. Raises `RetuneError` where they are not."""
    place, again = folder / name, f"`dvc repro export@{name}` makes and proves it"
    if not (place / CARD).is_file():
        known = sorted(card.parent.name for card in folder.glob(f"*/{CARD}"))
        raise RetuneError(f"{unknown('export', name, known, ' that is built')}: {again}")
    if not (place / FILE).is_file():
        raise RetuneError(f"{place} has no {FILE}, so nothing proves that it answers as the model did: {again}")
    parity: dict[str, Any] = json.loads((place / FILE).read_text(encoding="utf-8"))
    if "files" not in parity:
        raise RetuneError(f"{place / FILE} does not say of which files it is: {again} anew")
    now, before = hashes.of(place), parity["files"]
    changed = [file for file, digest in before.items() if now.get(file) != digest]
    if odd := [*changed, *(file for file in now if file not in before)]:
        how = "is not there any more" if odd[0] not in now else "was changed" if odd[0] in before else "came"
        raise RetuneError(f"{place / odd[0]} {how} after {FILE} was written, so it proves nothing of it: {again} anew")
    if not passed(parity):
        raise RetuneError(
            f"{place / FILE} says a difference of {parity.get('largest_difference')}, where "
            f"{parity.get('tolerance')} is allowed: it did not pass; {again} anew"
        )
    return Export(name, place, hashes.files(place), read_card(place), parity)


def passed(parity: dict[str, Any]) -> bool:
    """Whether rows were compared, and none of them differed by more than the tolerance.

    Of 8-bit weights it is the folder in float32 that was compared so; they have their `quality`, without which, or with
    one that is worse, the stage writes nothing.
    """
    if "quality" in parity:
        parity = parity.get("in_float32", {})
    apart, allowed = parity.get("largest_difference"), parity.get("tolerance")
    if not isinstance(apart, int | float) or not isinstance(allowed, int | float) or not parity.get("rows"):
        return False
    return math.isfinite(apart) and apart <= allowed + ALLOWED


def licence(card: Params) -> str:
    """The licences of what is handed on, in words."""
    parts = []
    for part in ("base", "data"):
        given = card.get("licence", {}).get(part) or {}
        parts.append(
            f"{part} {given.get('name', 'unnamed')}: {given.get('license') or 'not declared, look before you publish'}"
        )
    return ", ".join(parts)


def check_owner(export: Export, there: dict[str, Any] | None, foreign: set[str], where: str) -> None:
    """Raise `RetuneError` where a repository has something else than an earlier publication of this export.

    `there`: its export.json, None: it has none; `foreign`: its files that are none of this export.
    """
    if there is None and (other := sorted(foreign - PLAIN)):
        listed = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
        raise RetuneError(f"{where} holds something else ({listed}), which is kept: publish under another name")
    if there is not None and there.get("name") != export.card.name:
        raise RetuneError(
            f"{where} holds the model {there.get('name')}, and this export is of {export.card.name}: publish under "
            "another name, or delete that repository on the hub first"
        )


def check_visibility(private: bool, public: bool, where: str) -> None:
    """Raise `RetuneError` where a repository is seen by others than was asked for."""
    if private and public:
        raise RetuneError(f"{where} is private, and --public changes no repository: open it in its settings on the hub")
    if not private and not public:
        raise RetuneError(f"{where} is public already: give --public if that is meant, or publish under another name")
