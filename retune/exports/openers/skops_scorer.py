"""Scores of a document in one dimension, by skops alone.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

from skops.io import load

folder, rows, out = map(Path, sys.argv[1:])
model, spec = load(folder / "model.skops"), json.loads((folder / "export.json").read_text("utf-8"))["spec"]
asked = json.loads(rows.read_text("utf-8"))
scores = model.predict([row["document"] for row in asked]).clip(*spec["scores"])
places = [spec["dimensions"].index(row["dimension"]) for row in asked]
found = [[score[place]] for score, place in zip(scores.tolist(), places, strict=True)]
out.write_text(json.dumps({"answers": found, "tokens": None}), "utf-8")
