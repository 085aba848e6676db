"""A project whose path DVC's experiments can't write down."""

from __future__ import annotations

import pytest

from retune.pipeline.checks import place
from tests.support.shared_project import Clone


@pytest.mark.slow
def test_a_path_beyond_ascii_needs_a_cache_elsewhere(tmp_path):
    folder = tmp_path / "项目 一"
    folder.mkdir()
    assert place.warnings(tmp_path, {}) == []
    dvc = Clone(folder).dvc  # in this process: one of its own would import DVC for seconds
    dvc("init", "-q", "--no-scm")
    assert "dvc config --local cache.dir /a/folder" in place.warnings(folder, {})[0]
    dvc("config", "--local", "cache.dir", "elsewhere")
    assert len(place.warnings(folder, {})) == 1  # below the project still
    dvc("config", "--local", "cache.dir", str(tmp_path / "cache"))
    assert place.warnings(folder, {}) == []
