"""A DVC project of two models whose stages take no time: the sum of some rows, and what follows from it."""

from __future__ import annotations

from pathlib import Path

from tests.support.tiny_pipeline import run

PIPELINE = """
stages:
  split:
    cmd: python work.py split rows
    deps: [rows.json]
    outs: [data/splits]
  train:
    foreach: [one, two]
    do:
      cmd: python work.py train ${item}
      deps: [data/splits/train.json, data/splits/more]
      outs: ["models/${item}"]
  predict:
    foreach: [one, two]
    do:
      cmd: python work.py predict ${item}
      deps: ["models/${item}"]
      outs: ["data/predictions/${item}.json"]
  calibrate:
    foreach: [one, two]
    do:
      cmd: python work.py calibrate ${item}
      deps: ["data/predictions/${item}.json"]
      outs: ["data/calibrations/${item}.json"]
  evaluate:
    foreach: [one, two]
    do:
      cmd: python work.py evaluate ${item}
      deps: ["data/calibrations/${item}.json"]
      outs: [{"reports/${item}.json": {cache: false}}]
"""

WORK = """
import json, os, sys
from pathlib import Path

stage, name = sys.argv[1:]
OUTS = {"predict": "data/predictions", "calibrate": "data/calibrations", "evaluate": "reports"}
READS = {"predict": "models/%s/weights.json", "calibrate": "data/predictions/%s.json",
         "evaluate": "data/calibrations/%s.json"}

def write(path, value):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value))

def read(path):
    return json.loads(Path(path).read_text())

if stage == "split":
    write("data/splits/train.json", read("rows.json"))
    write("data/splits/more/rows.json", [1])
elif stage == "train":
    total = sum(read("data/splits/train.json")) + sum(read("data/splits/more/rows.json"))
    write(f"models/{name}/weights.json", {"sum": total, "name": name})
    machine = {"threads": int(os.environ["OMP_NUM_THREADS"]), "device": os.environ.get("DEVICE", "cpu")}
    write(f"models/{name}/provenance.json", {"packages": {}, "python": "3", "machine": machine})
    write(f"models/{name}/spec.json", {"learner": "sum", "seed": 7})
else:
    write(f"{OUTS[stage]}/{name}.json", {stage: read(READS[stage] % name)})
"""

IGNORED = "/data/splits\n/data/predictions\n/data/calibrations\n/models\n__pycache__\n"


def build(folder: Path, git: bool = True) -> None:
    """Lay the project out and build it, with three threads."""
    folder.mkdir(parents=True)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "work.py").write_text(WORK)
    (folder / "rows.json").write_text("[1, 2, 3]")
    if git:
        (folder / ".gitignore").write_text(IGNORED + "/.retune\n")
        run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q", *([] if git else ["--no-scm"]))
    run(folder, "dvc", "repro", "-q", OMP_NUM_THREADS="3")
