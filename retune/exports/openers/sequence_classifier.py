"""Labels of a text or a pair, by transformers' pipeline.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

from transformers import pipeline

folder, rows, out = map(Path, sys.argv[1:])
classify = pipeline("text-classification", model=str(folder), device="cpu", dtype="float32")
texts = [list(row.values()) for row in json.loads(rows.read_text("utf-8"))]
given = [{"text": one[0], **({"text_pair": one[1]} if len(one) > 1 else {})} for one in texts]
names = json.loads((folder / "export.json").read_text("utf-8"))["spec"]["labels"]
found = []
for one in classify(given, top_k=None, truncation=True):
    scores = {said["label"]: said["score"] for said in one}
    found.append([scores[name] for name in names])
ids = [classify.tokenizer(*one, truncation=True)["input_ids"] for one in texts]
out.write_text(json.dumps({"answers": found, "tokens": ids}), "utf-8")
