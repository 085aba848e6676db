"""The speed benchmark's own part runs: rows of every workload, Retune's driver, label scoring, both tables."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.support import ROOT, ranking_fit, tiny_encoder, tiny_llm, warm_python

pytestmark = pytest.mark.slow


def test_training_and_classification_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    import llm

    monkeypatch.setattr(llm, "interpreter", lambda _: Path(warm_python.folder()) / "python")
    base = tiny_llm.tiny_llm(tmp_path / "base")
    options = ["--base", str(base), "--work", str(tmp_path / "work"), "--dtype", "float32", "--rows", "8"]
    options += ["--dev-rows", "4", "--threads", "1", "--tools", "retune", "--methods", "labels,apart"]
    monkeypatch.setattr(sys, "argv", ["llm.py", *options, "--apart-rows", "2"])
    llm.main()
    said = capsys.readouterr().out
    assert "| retune |" in said
    assert re.search(r"[\d,]+ tokens computed; .* of the time that its steps took", said)
    results = [json.loads(line) for line in (tmp_path / "work/results.jsonl").read_text(encoding="utf-8").splitlines()]
    trained, labels, apart = results
    assert trained["seed"] == 42
    assert trained["steps"] == 2
    assert trained["first_loss"] > trained["dev_loss"] > 0
    assert labels["predictions"][:2] == apart["predictions"], "the tree of labels and one pass per label agree"
    told = json.loads((tmp_path / "work/seed-42/retune/dev_loss.json").read_text(encoding="utf-8"))
    (tmp_path / "again.json").write_text(json.dumps(told | {"dtype": "bfloat16"}), encoding="utf-8")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/llm_tools"))
    monkeypatch.setattr(sys, "argv", ["dev_loss.py", str(tmp_path / "again.json")])
    import dev_loss

    dev_loss.main()
    again = json.loads(capsys.readouterr().out)
    assert again["dev_sums"] == trained["dev_sums"], "adapters are compared, and not the rounding of a dtype"
    assert again["dev_sums"] == pytest.approx(each_alone(told), rel=1e-5), (
        "behind the common beginning as from the start"
    )


def each_alone(job: dict[str, str]) -> list[float]:
    """Sum of the losses of each dev row's answer, each row read whole."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(job["base"]).float(), job["adapter"]).eval()
    sums = []
    for row in map(json.loads, Path(job["dev"]).read_text(encoding="utf-8").splitlines()):
        prompt, answer = row["prompt_ids"], row["answer_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        sums.append(F.cross_entropy(logits, torch.tensor(answer), reduction="sum").item())
    return sums


def test_workloads_share_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import workloads

    base = tiny_llm.tiny_llm(tmp_path / "base")
    rows = {name: workloads.build(name, base, 12, 1) for name in workloads.WORKLOADS}
    assert {name: len(found) for name, found in rows.items()} == dict.fromkeys(rows, 12)
    assert [row.prompt_ids for row in rows["pairs"]] != [
        row.prompt_ids for row in workloads.build("pairs", base, 12, 2)
    ]
    share = {name: shared(found[0].prompt_ids, found[1].prompt_ids) for name, found in rows.items()}
    assert share["pairs"] < 0.1 < 0.5 < min(share["intent"], share["reasoning"])
    assert min(len(row.answer_ids) for row in rows["reasoning"]) > max(len(row.answer_ids) for row in rows["pairs"])


def shared(a: list[int], b: list[int]) -> float:
    """Share of the shorter prompt that both begin with."""
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return same / min(len(a), len(b))


def test_encoding_is_compared_and_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, base = ranking_fit.spec_of("embedder", epochs=0, max_length=100), tmp_path / "base"
    base.mkdir()
    out, _ = ranking_fit.fit(spec, tiny_encoder.tiny_encoder(base), tmp_path)
    few = ["--rows", "40", "--repeat", "1", "--dtype", "float32"]
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["encode.py", "--model", str(out), *few])
    import encode

    encode.main()
    said = capsys.readouterr().out
    assert "| Retune, float32 |" in said
    assert float(said.split()[-2]) < 1e-5


def test_a_difference_of_dev_losses_comes_from_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import tables

    own = [{"dev_loss": 1.0, "dev_sums": [1.0, 3.0, 2.0, 2.0]}]  # two tokens a row
    other = [{"dev_loss": 1.25, "dev_sums": [1.4, 3.6, 2.4, 2.6]}]  # 0.5 more a row, by turns 0.1 less and more
    half = 3.182446 * 0.1 * (4 / 3) ** 0.5 / 4**0.5 / 2
    assert tables.difference(other, own) == f"+0.2500 ± {half:.4f}"
    assert tables.difference(own, own) == "+0.0000 ± 0.0000"


def test_with_several_seeds_a_difference_varies_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import tables

    own = [{"dev_loss": loss, "dev_sums": [loss]} for loss in (1.0, 2.0, 3.0)]
    other = [{"dev_loss": loss, "dev_sums": [loss]} for loss in (1.1, 2.2, 3.3)]
    half = 4.302653 * 0.1 / 3**0.5
    assert tables.difference(other, own) == f"+0.2000 ± {half:.4f}"


def test_tools_are_compared_by_the_medians_of_their_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import tables

    def run(tool: str, seed: int, seconds: float, peak: float, limit: float = 1.0) -> dict[str, object]:
        told = {"dev_sums": [1.0], "version": tool, "computed_tokens": 10, "limit_seconds": limit, "gigaflops": 300.0}
        measured = {"step_seconds": seconds, "whole_seconds": 2 * seconds, "tokens_per_second": 60 / seconds}
        return {"tool": tool, "seed": seed, "peak_gib": peak, "first_loss": seed, "dev_loss": 1.0, **told, **measured}

    table = tables.training_table(
        [run("retune", s, seconds, 1.0, limit) for s, seconds, limit in ((1, 2.0, 1.0), (2, 9.0, 4.5), (3, 4.0, 1.0))]
        + [run("trl", s, seconds, peak) for s, seconds, peak in ((1, 30.0, 5.0), (2, 20.0, 7.0), (3, 90.0, 6.0))]
    )
    assert "| retune | 4.0 | 8.0 | 15 | 1.00 | 2.0000 |" in table
    assert "| trl | 30.0 | 60.0 | 2 | 7.00 | 2.0000 | 1.0000 | +0.0000 ± 0.0000 | 7.5x faster |" in table
    assert "50% of the time" in table, "the median share of the limit, and not the share of medians"
    assert "trl 30.0, 20.0, 90.0" in table


def test_seeds_that_are_no_seeds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import llm

    for seeds in ("42,42", "4x", ""):
        monkeypatch.setattr(sys, "argv", ["llm.py", "--base", str(tmp_path), "--seeds", seeds])
        with pytest.raises(SystemExit) as end:
            llm.main()
        assert end.value.code == 2
        assert f"--seeds {seeds} are not different whole numbers" in capsys.readouterr().err
