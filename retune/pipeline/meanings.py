"""What the hashes of the files in resolved/ stand for, kept in .retune, so that a change can be told by name.

Each hash has a file with what is behind it: the part of params-resolved.json that a stage instance reads, and the
modules and packages that it can run. Where a hash was made on another machine, the revision that has it committed is
asked.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.errors import RetuneError
from retune.params import RESOLVED, STATE
from retune.pipeline import fingerprint, reads

FOLDER = STATE / "meanings"
KEPT = 2000
"""Files that stay; the oldest go."""


def of(resolved: dict[str, Any], contents: dict[str, Any]) -> dict[str, Any]:
    """Hash, as DVC has it -> what that file of resolved/ stands for: `reads` and `code`."""
    code = {
        reads.path(stage, key): asdict(one)
        for stage, found in contents.items()
        for key, one in (found if isinstance(found, dict) else {"": found}).items()
    }
    parts = reads.instances(resolved)
    return {
        reads.digest(text): {"reads": parts[path][0], "code": code[path]}
        for path, text in reads.files(resolved).items()
    }


def keep(found: dict[str, Any], project: Path = Path()) -> None:
    """Write what is not there yet."""
    folder = project / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for digest, value in found.items():
        file = folder / f"{digest}.json"
        if not file.is_file():
            with replacing(file) as part:
                part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    for file in files[: max(0, len(files) - KEPT)]:
        file.unlink(missing_ok=True)


class Memory:
    """Meanings that were kept here, and those of a revision."""

    def __init__(self, folder: Path, revision: str = "HEAD") -> None:
        self.folder, self.revision = folder, revision
        self._committed: dict[str, Any] | None = None

    def get(self, digest: str) -> Any:
        """What a hash stands for; None where nobody knows."""
        file = self.folder / FOLDER / f"{digest}.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
        if self._committed is None:
            self._committed = _committed(self.folder, self.revision)
        return self._committed.get(digest)


def _committed(folder: Path, revision: str) -> dict[str, Any]:
    """The meanings of the hashes of a revision's files in resolved/, which follow from its params-resolved.json."""
    text = at_revision(folder, revision, RESOLVED.as_posix())
    if text is None:
        return {}
    resolved = json.loads(text)
    with tempfile.TemporaryDirectory() as name:
        paths = [*fingerprint.PACKAGES, fingerprint.LOCK]
        archive = subprocess.run(
            ["git", "archive", f"--output={name}/code.tar", revision, *paths],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        try:
            if not archive.returncode:
                subprocess.run(["tar", "-xf", "code.tar"], cwd=name, check=True)
                return of(resolved, fingerprint.contents(Path(name), resolved))
        except (KeyError, RetuneError):  # of a Retune whose file or code has another form
            pass
    return {}


def at_revision(folder: Path, revision: str, path: str) -> str | None:
    """The text of a file of the project at a revision; None where it has none."""
    shown = subprocess.run(["git", "show", f"{revision}:./{path}"], cwd=folder, capture_output=True, check=False)
    return None if shown.returncode else shown.stdout.decode()
