"""`transformers serve` behind our routes: its own server on a tiny decision model, asked over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from retune import inference
from retune.engines import export
from retune.engines.transformers_serve import Decisions, command
from retune.errors import RetuneError
from retune.exports.protocol import Built
from retune.inference import Model
from tests.support import ROOT, exported_llm, llm_fit, warm_python

pytestmark = pytest.mark.slow

DEADLINE = 300.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))


def test_a_real_server_behind_our_routes_answers_as_retune_load_and_ends_with_them(tiny: Built, tmp_path: Path) -> None:
    folder = exported_llm.export(tiny, "decision", tmp_path / "export")
    python = f"{warm_python.folder()}/python"
    words = [python, "-m", "retune.cli", "serve", "--engine", "transformers", str(folder), "--port", "0"]
    process = subprocess.Popen(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        addresses: dict[str, str] = {}
        for line in process.stderr:
            if line.startswith("transformers: "):
                addresses["engine"] = line.split()[1].rstrip(",")
            if line.startswith("http://"):
                addresses["front"] = line.split()[0]
                break
        pairs = exported_llm.ROWS.select("text_a", "text_b").head(6)
        own = inference.load(folder).predict(pairs).to_dicts()
        asked = {"pairs": [list(row) for row in pairs.iter_rows()], "probabilities": True}
        found = httpx.post(f"{addresses['front']}/similar", json=asked, timeout=DEADLINE).json()["results"]
        assert [one["label"] for one in found] == [one["label"] for one in own]
        chances = [one["probabilities"]["1"] for one in found]
        assert chances == pytest.approx([one["prob_1"] for one in own], abs=1e-5)
        assert httpx.get(f"{addresses['engine']}/health", timeout=DEADLINE).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{addresses['engine']}/health", timeout=DEADLINE)
    finally:
        process.terminate()
        process.communicate()


class Pipeline:
    """An endpoint that answers as the server does, by the pipeline that is in it."""

    def __init__(self, folder: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder)
        self.decide: Any = pipeline("decision", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
        self.model = str(folder)

    def post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (route, body["model"]) == ("/v1/systemone", self.model)
        return {"answers": self.decide({"state": body["state"], "questions": body["questions"]})}


def test_scores_are_those_of_retune_load(tmp_path: Path) -> None:
    levels = {"2": "A", "5": "B", "9": "C"}
    prompt = {"system": "打分", "user": "{document}\n维度：{dimension}", "answers": levels}
    base = exported_llm.tiny_llm.tiny_llm(tmp_path / "base")
    dimensions = ["risk", "growth"]
    spec = llm_fit.spec_of(
        kind="scoring", labels=list(levels), scores=[2, 9], dimensions=dimensions, prompt=prompt, training__epochs=0
    )
    (tmp_path / "model").mkdir()
    built = exported_llm.built(tmp_path / "model", base, spec, {"temperature": 1.3, "estimate": "median"})
    folder = exported_llm.export(built, "merged decision", tmp_path / "export")
    read = export.read(folder)
    endpoint: Any = Pipeline(folder)
    predictor: Any = Decisions(read, endpoint)
    theirs = Model(read.name, read.card.spec, predictor, {**read.card.calibration, "temperature": 1.0}, folder)
    rows = [{"document": text, "dimension": name} for text in ("公司主营机器人", "花呗") for name in dimensions]
    own = inference.load(folder).predict(rows)
    found = theirs.predict(rows)
    for label in levels:
        column = f"prob_{label}"
        assert [one[column] for one in found] == pytest.approx([one[column] for one in own], abs=1e-5)
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in own], abs=1e-4)
    assert np.ptp([one["prob_2"] for one in own]) > 1e-3


def test_what_it_does_not_serve_is_told(tiny: Built, tmp_path: Path) -> None:
    adapter, merged = (export.read(exported_llm.export(tiny, form, tmp_path / form)) for form in ("adapter", "merged"))
    with pytest.raises(RetuneError, match=r"small is an adapter beside its base.*`decision: true` or `merge: true`"):
        command([adapter], "127.0.0.1", 8010, "float32")
    with pytest.raises(RetuneError, match="holds one model"):
        command([merged, adapter], "127.0.0.1", 8010, "float32")
    nowhere: Any = None
    with pytest.raises(RetuneError, match="tells no probability of small: export it with `decision: true`"):
        Decisions(merged, nowhere)
    assert command([merged], "127.0.0.1", 8010, "float32")[:3] == ["transformers", "serve", str(merged.folder)]
