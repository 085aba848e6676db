"""The project of tests.support.declarations with a scoring task and two models of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.declarations import write

TASK = """\
tasks:
  rating:
    kind: scoring
    source: rated
    scores: [1, 5]
    dimensions: {innovation: 创新性, diversity: 多元化}
    data_ratio: 0.5
    prompt: rated
"""
MODELS = """\
models:
  rated_linear: {task: rating, learner: linear, base: scratch}
  rated_llm: {task: rating, learner: llm, base: llm, training: {thinking: false}}
"""
SOURCE = """\
rated:
  kind: sample
  license: Apache-2.0
  generator: similarity
  tables:
    - file: rows.json
      columns: {document: text, dimension: $file, score: score, reasoning: think, reason: reason}
sample:
"""
PROMPT = """\
user: "{document}\\n{dimension}"
reason: "\\nwhy: "
"""


def project(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """The project in `folder`, with each (file, old, new) replaced."""
    (folder / "prompts").mkdir()
    (folder / "prompts/rated.yaml").write_text(PROMPT, encoding="utf-8")
    added = ("tasks:\n", TASK), ("models:\n", MODELS)
    source = ("data/catalog.yaml", "sample:\n", SOURCE)
    return write(folder, *(("params.yaml", *edit) for edit in added), source, *edits)
