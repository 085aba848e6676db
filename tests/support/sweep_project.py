"""A small project of declarations whose stages are scripts of a test: `split` makes rows, `train` the dev metrics."""

from __future__ import annotations

from pathlib import Path

from tests.support import declarations

STAGES = """\
stages:
  split:
    foreach: ${tasks}
    do:
      cmd: mkdir -p data/splits && SPLIT && echo split >> RAN
      deps: ["resolved/split/${key}.json"]
      outs: ["data/splits/${key}"]
  train:
    foreach: ${models}
    do:
      cmd: python train.py ${key} && echo train >> RAN
      deps: ["resolved/train/${key}.json", "data/splits/${item.task}"]
      outs: ["reports/training/${key}"]
  predict:
    foreach: ${models}
    do: {cmd: exit 1, deps: ["reports/training/${key}"], outs: ["data/test/${key}"]}
  evaluate:
    foreach: ${models}
    do:
      cmd: exit 1
      deps: ["resolved/evaluate/${key}.json", "reports/training/${key}", "data/test/${key}"]
      metrics: [{"reports/metrics/${key}.json": {cache: false}}]
"""

START = """\
import json, os, pathlib, sys, time
model = sys.argv[1]
reads = json.loads(pathlib.Path(f"resolved/train/{model}.json").read_text())["reads"]
record = pathlib.Path(f"reports/training/{model}")
def tell(**metrics):  # the curves of a finished training: name=[value, ...]
    folder = record / "plots/metrics/dev"
    folder.mkdir(parents=True)
    for name, values in metrics.items():
        lines = [f"{step}\\t{value}" for step, value in enumerate(values, 1)]
        (folder / f"{name}.tsv").write_text("\\n".join([f"step\\t{name}", *lines]) + "\\n")
"""
"""How a test's train.py begins: `model`, what it `reads`, and `tell`."""


def write(folder: Path, train: str, split: str = "printf rows > data/splits/${key}") -> Path:
    """The project in `folder`; `ran` beside it gets a line for each stage that ran to its end."""
    declarations.write(folder)
    (folder / "train.py").write_text(START + train)
    stages = STAGES.replace("RAN", str(folder.parent / "ran")).replace("SPLIT", split)
    (folder / "dvc.yaml").write_text(stages)
    return folder


def ran(folder: Path) -> list[str]:
    """The stages that ran, in their order."""
    file = folder.parent / "ran"
    return file.read_text().split() if file.is_file() else []
