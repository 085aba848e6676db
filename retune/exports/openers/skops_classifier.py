"""Labels of one text, by skops alone.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

from skops.io import load

folder, rows, out = map(Path, sys.argv[1:])
model = load(folder / "model.skops")
texts = [text for row in json.loads(rows.read_text("utf-8")) for text in row.values()]
names = json.loads((folder / "export.json").read_text("utf-8"))["spec"]["labels"]
found = model.predict_proba(texts)[:, [list(model.classes_).index(name) for name in names]]
out.write_text(json.dumps({"answers": found.tolist(), "tokens": None}), "utf-8")
