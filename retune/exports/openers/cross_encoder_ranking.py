"""Scores of a document for a query, by sentence-transformers' CrossEncoder.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder

folder, rows, out = map(Path, sys.argv[1:])
model = CrossEncoder(str(folder), device="cpu")
texts = [(row["query"], row["document"]) for row in json.loads(rows.read_text("utf-8"))]
found = [[float(score)] for score in model.predict(texts)]
ids = [model.tokenizer(*one, truncation=True)["input_ids"] for one in texts]
out.write_text(json.dumps({"answers": found, "tokens": ids}), "utf-8")
