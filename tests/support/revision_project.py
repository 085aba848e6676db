"""A project in Git whose outputs DVC has recorded at two tags: a linear model of pairs, its export, and more."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import polars as pl

from retune.pipeline import fingerprint
from tests.support import ROOT, exported
from tests.support.shared_project import Clone
from tests.support.tiny_encoder import pairs

STAGES = {
    "download_base": {"foreach": ["llm"], "do": {"cmd": "true", "outs": ["models/bases/${item}"]}},
    "train": {
        "foreach": ["same", "chat", "raw"],
        "do": {"cmd": "true", "deps": ["data/rows.txt"], "outs": ["models/${item}"]},
    },
    "calibrate": {
        "foreach": ["same", "chat"],
        "do": {"cmd": "true", "outs": ["data/calibrations/${item}s/${item}.json"]},
    },
    "export": {"foreach": ["same"], "do": {"cmd": "true", "outs": ["exports/${item}"]}},
}
FITTED = ({"temperature": 1.7, "threshold": 0.4}, {"temperature": 0.6, "threshold": 0.7})
"""Of v1 and v2."""


def lay_out(folder: Path, scratch: Path) -> Clone:
    """The project at v2, with both tags; its cache has all of both, and so has the remote `scratch`/remote."""
    folder.mkdir(parents=True)
    made = Clone(folder)
    (folder / ".gitignore").write_text("/models/*/\n/data/calibrations/\n/exports/\n")
    (folder / "dvc.yaml").write_text(json.dumps({"stages": STAGES}))
    _write(folder / "models/bases/llm/weights", "base")
    _write(folder / "models/raw/spec.json", "{}")
    made.git("init", "-q", "-b", "main")
    made.dvc("init", "-q")
    made.dvc("remote", "add", "-q", "--default", "team", str(scratch / "remote"))
    for number, fitted in enumerate(FITTED, 1):
        rows = pairs() if number == 1 else pairs().with_columns(label=1 - pl.col("label"))
        spec = exported.spec("linear", "pair", task="sames")
        built = dataclasses.replace(exported.model(scratch / f"v{number}", spec, rows, fitted), name="same")
        for name in ("models/same", "exports/same"):
            shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(built.folder, folder / "models/same")
        (folder / "exports").mkdir(exist_ok=True)
        exported.export(built, folder / "exports/same")
        _write(folder / "data/calibrations/sames/same.json", json.dumps(fitted))
        _write(folder / "models/chat/spec.json", json.dumps({"task": "chats", "learner": "llm", "base": "llm"}))
        _write(folder / "data/calibrations/chats/chat.json", json.dumps(fitted))
        _write(folder / "data/rows.txt", str(number))
        written = {"chat": {"generation": {"max_new_tokens": number}}}
        _write(folder / "params-resolved.json", json.dumps({"tasks": {}, "predictions": written}))
        code = fingerprint.Code(ROOT).fingerprint(fingerprint.roots("predict", spec)) if number == 1 else "0" * 16
        _write(folder / "resolved/predict/same.json", json.dumps({"code": code, "reads": {}}))
        made.dvc("commit", "-f", "-q")
        made.dvc("push", "-q")
        made.commit()
        made.git("tag", f"v{number}")
    return made


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
