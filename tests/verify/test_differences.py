"""What differs in a file, by what it holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_by_torch

from retune.verify.differences import differing, of_file


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a": {"b": [1, 2]}, "c": 0}, {"a": {"b": [1, 3]}, "c": 0}, "a.b[1] 2 -> 3"),
        ({"a": 1}, {"b": 1}, "a is gone; b is new"),
        ([1], [1, 2], "it [1] -> [1, 2]"),
        (list(range(7)), list(range(1, 8)), "[0] 0 -> 1; [1] 1 -> 2; [2] 2 -> 3; [3] 3 -> 4; [4] 4 -> 5; and 2 more"),
    ],
)
def test_json(tmp_path: Path, before: object, now: object, said: str) -> None:
    for name, value in (("a.json", before), ("b.json", now)):
        (tmp_path / name).write_text(json.dumps(value))
    assert of_file(tmp_path / "a.json", tmp_path / "b.json") == said


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"id": ["a", "b", "c"], "p": [0.1, 0.25, None]}, "p in 1 of 3 rows, by at most 0.05"),
        ({"id": ["a", "x", "c"], "p": [0.1, 0.2, None]}, "id in 1 of 3 rows"),
        ({"id": ["a"], "p": [0.1]}, "3 rows -> 1"),
        ({"id": ["a", "b", "c"], "q": [0.1, 0.2, None]}, "other columns: p, q"),
    ],
)
def test_parquet(tmp_path: Path, now: dict[str, list[object]], said: str) -> None:
    pl.DataFrame({"id": ["a", "b", "c"], "p": [0.1, 0.2, None]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(now).write_parquet(tmp_path / "b.parquet")
    assert of_file(tmp_path / "a.parquet", tmp_path / "b.parquet") == said


def test_tensors_with_the_largest_difference(tmp_path: Path) -> None:
    before = {"w": np.zeros((2, 3), np.float32), "b": np.ones(3, np.float32)}
    now = {"w": before["w"] + np.float32(0.5), "b": before["b"]}
    for name, tensors in (("a", before), ("b", now)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    assert of_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors") == "1 of 2 tensors, by at most 0.5 (w)"
    for name, value in (("a", 1.0), ("b", 1.25)):
        save_by_torch({"w": torch.full((4,), value, dtype=torch.bfloat16)}, tmp_path / f"{name}.safetensors")
    assert of_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors") == "1 of 1 tensors, by at most 0.25 (w)"


def test_folders_name_each_file_and_other_files_their_bytes(tmp_path: Path) -> None:
    for top, files in (
        ("a", {"same": "1", "gone": "1", "x/y.bin": "abc"}),
        ("b", {"same": "1", "new": "", "x/y.bin": "abd"}),
    ):
        for name, text in files.items():
            (tmp_path / top / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / top / name).write_text(text)
    assert differing(tmp_path / "a", tmp_path / "b") == [
        "gone: is not made any more", "new: is new", "x/y.bin: 1 of 3 bytes"
    ]  # fmt: skip


def test_a_file_that_is_not_what_its_name_says_is_no_error(tmp_path: Path) -> None:
    for name, text in (("a.parquet", "x"), ("b.parquet", "y")):
        (tmp_path / name).write_text(text)
    assert of_file(tmp_path / "a.parquet", tmp_path / "b.parquet").startswith("can't be read as parquet (")
