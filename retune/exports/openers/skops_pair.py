"""Labels of a pair of texts, by skops and scipy.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import sparse
from skops.io import load

folder, rows, out = map(Path, sys.argv[1:])
model = load(folder / "model.skops")
texts = [list(row.values()) for row in json.loads(rows.read_text("utf-8"))]
a, b = (model["vectors"].transform(column) for column in zip(*texts, strict=True))
cosine = a.multiply(b).sum(axis=1)
features = sparse.hstack([abs(a - b), a.multiply(b), cosine, np.square(cosine)])
names = json.loads((folder / "export.json").read_text("utf-8"))["spec"]["labels"]
found = model["labels"].predict_proba(features)[:, [list(model["labels"].classes_).index(name) for name in names]]
out.write_text(json.dumps({"answers": found.tolist(), "tokens": None}), "utf-8")
