"""Shares of an optimiser's state: even, one process's each, and read by whoever needs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from retune.training.distributed import data_parallel, zero1


def stepped(sizes: list[int]) -> torch.optim.AdamW:
    """An optimiser of two groups that has moments of every weight."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(size)) for size in sizes]
    optimizer = torch.optim.AdamW([{"params": weights[:2], "weight_decay": 0.1}, {"params": weights[2:]}])
    for weight in weights:
        weight.grad = torch.randn(len(weight))
    optimizer.step()
    return optimizer


def test_each_weight_is_one_process_s_and_their_shares_are_even() -> None:
    assert zero1.owners([7, 100, 30, 30, 40], 2) == [0, 0, 1, 1, 1]
    assert set(zero1.owners([7, 100, 30, 30, 40], 3)) == {0, 1, 2}
    assert zero1.owners([7, 100], 1) == [0, 0]


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (0, 3), (2, 3)])
def test_any_number_of_processes_goes_on_from_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, size: int
) -> None:
    sizes = [7, 100, 30, 30, 40]
    whole = stepped(sizes).state_dict()
    for writer, folder in enumerate([tmp_path, tmp_path / "rank-1"]):
        folder.mkdir(exist_ok=True)
        owned = [n for n, owner in enumerate(zero1.owners(sizes, 2)) if owner == writer]
        torch.save(whole | {"state": {n: whole["state"][n] for n in owned}}, folder / zero1.STATE_FILE)
    monkeypatch.setattr(data_parallel, "rank", lambda: rank)
    monkeypatch.setattr(data_parallel, "world_size", lambda: size)
    fresh = torch.optim.AdamW(stepped(sizes).param_groups)
    zero1.load_state(fresh, tmp_path)
    found = fresh.state_dict()["state"]
    assert set(found) == {n for n, owner in enumerate(zero1.owners(sizes, size)) if owner == rank}
    for number, moments in found.items():
        assert all(torch.equal(value, whole["state"][number][name]) for name, value in moments.items())
