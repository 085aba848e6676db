"""A project whose path DVC's experiments can't write down."""

from __future__ import annotations

import subprocess

from retune.pipeline.checks import place


def test_a_path_beyond_ascii_needs_a_cache_elsewhere(tmp_path):
    folder = tmp_path / "项目 一"
    folder.mkdir()
    assert place.warnings(tmp_path, {}) == []
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    assert "dvc config --local cache.dir /a/folder" in place.warnings(folder, {})[0]
    subprocess.run(["dvc", "config", "--local", "cache.dir", "elsewhere"], cwd=folder, check=True)
    assert len(place.warnings(folder, {})) == 1  # below the project still
    subprocess.run(["dvc", "config", "--local", "cache.dir", str(tmp_path / "cache")], cwd=folder, check=True)
    assert place.warnings(folder, {}) == []
