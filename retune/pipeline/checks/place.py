"""What DVC can't do where the project lies, said before an experiment is lost to it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


def warnings(folder: Path, resolved: dict[str, Any]) -> list[str]:
    """What deserves a look in where the project lies; each line says what to do."""
    del resolved  # as the other checks are asked
    path = folder.resolve()
    if str(path).isascii():
        return []
    # DVC writes the cache's place into a file of ASCII for each experiment in a folder of its own
    asked = subprocess.run(["dvc", "config", "cache.dir"], cwd=path, capture_output=True, text=True, check=False)
    cache = asked.stdout.strip()
    if cache.isascii() and Path(cache).is_absolute():
        return []
    return [
        f"the project lies in {path}, whose name is not ASCII: `dvc exp run --temp` and `--queue` fail there with a "
        "UnicodeEncodeError; give the cache another place (`dvc config --local cache.dir /a/folder`) or move it"
    ]
