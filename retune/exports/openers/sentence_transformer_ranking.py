"""Scores of a document for a query, by SentenceTransformer's cosine.

python -I SCRIPT FOLDER ROWS.json OUT.json
"""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

folder, rows, out = map(Path, sys.argv[1:])
model = SentenceTransformer(str(folder), device="cpu")
asked = json.loads(rows.read_text("utf-8"))
queries = model.encode_query([row["query"] for row in asked])
documents = model.encode_document([row["document"] for row in asked])
found = [[cosine] for cosine in model.similarity_pairwise(queries, documents).tolist()]
ids = []
for row in asked:
    both = (model.prompts[side] + row[side] for side in ("query", "document"))
    ids.append([one for text in both for one in model.tokenizer(text, truncation=True)["input_ids"]])
out.write_text(json.dumps({"answers": found, "tokens": ids}), "utf-8")
