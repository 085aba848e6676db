"""A Python environment that has some packages, what they require, and nothing else: above all no Retune."""

from __future__ import annotations

import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def make(folder: Path, packages: list[str]) -> Path:
    """Make it in `folder`, of links to the packages of this environment; the path of its interpreter."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in sorted(closure(packages)):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."} - {"__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "bin/python"


def closure(packages: list[str]) -> set[str]:
    """These packages and what they require, without extras, as far as it is installed."""
    found: set[str] = set()
    ahead = list(packages)
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name in found:
            continue
        try:
            required = map(Requirement, metadata.distribution(name).requires or ())
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        ahead += [one.name for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found
