"""Whether two texts mean the same, by SentenceTransformer and the two numbers of export.json.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import math
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

folder, rows, out = map(Path, sys.argv[1:])
model = SentenceTransformer(str(folder), device="cpu")
card = json.loads((folder / "export.json").read_text("utf-8"))
texts = [list(row.values()) for row in json.loads(rows.read_text("utf-8"))]
first, second = (model.encode(list(column)) for column in zip(*texts, strict=True))
found = []
for cosine in model.similarity_pairwise(first, second).tolist():
    odds = card["log_odds"]["scale"] * cosine + card["log_odds"]["bias"]
    found.append([1 / (1 + math.exp(odds)), 1 / (1 + math.exp(-odds))])
prefix = model.prompts[model.default_prompt_name]
ids = [[one for text in row for one in model.tokenizer(prefix + text, truncation=True)["input_ids"]] for row in texts]
out.write_text(json.dumps({"answers": found, "tokens": ids}), "utf-8")
