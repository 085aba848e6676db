"""The declarations and the code of this checkout in another folder, where a test may edit the declarations."""

from __future__ import annotations

import shutil
from pathlib import Path

from retune.pipeline.declarations import DATA, MODELS
from tests.support import ROOT


def lay_out(folder: Path) -> None:
    """Copy the declarations and link the code; data that stays outside the repository is not there."""
    for name in ("retune", "stages", "prompts"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("params.yaml", DATA, MODELS, "requirements.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
