"""Labels of a text or a pair, by sentence-transformers' CrossEncoder.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder

folder, rows, out = map(Path, sys.argv[1:])
model = CrossEncoder(str(folder), device="cpu")
texts = [list(row.values()) for row in json.loads(rows.read_text("utf-8"))]
if len(texts[0]) > 1:
    probabilities = model.predict(texts, apply_softmax=True).tolist()
else:  # one text at a time: `predict` takes a list of texts for a pair
    probabilities = [model.predict(text, apply_softmax=True).tolist() for (text,) in texts]
names = json.loads((folder / "export.json").read_text("utf-8"))["spec"]["labels"]
places = [model.config.label2id[name] for name in names]
found = [[row[place] for place in places] for row in probabilities]
ids = [model.tokenizer(*one, truncation=True)["input_ids"] for one in texts]
out.write_text(json.dumps({"answers": found, "tokens": ids}), "utf-8")
