"""A small project for tests of `resolve`: its own declarations beside this checkout's code; nothing is built."""

from __future__ import annotations

import shutil
from pathlib import Path

from retune.pipeline.resolve import resolve
from tests.support import ROOT

FILES = {
    "params.yaml": """\
seed: 7
bases:
  scratch: none
  encoder: small
  llm: chat
tasks:
  questions:
    kind: pair
    source: sample
    prompt: questions
models:
  plain: {task: questions, learner: linear, base: scratch}
  untuned: {task: questions, learner: embedder, base: encoder, training: {epochs: 0}}
  cross:
    task: questions
    learner: encoder
    base: encoder
    loss: {name: focal}
  chatty:
    task: questions
    learner: llm
    base: llm
    training: {epochs: 2}
training: {epochs: 1, batch_size: 8, learning_rate: 3e-5}
loss: {name: cross_entropy}
lora: {r: 16}
""",
    "data/catalog.yaml": """\
sample:
  kind: sample
  license: Apache-2.0
  generator: similarity
  tables:
    - file: rows.jsonl
      columns: {text_a: a, text_b: b, label: label}
files:
  kind: path
  license: unknown
  path: data/external/rows
  tables:
    - file: rows.csv
      columns: {text_a: a, text_b: b, label: label}
hub:
  kind: huggingface
  license: unknown
  repo: owner/rows
  revision: main
  tables:
    - file: rows.csv
      columns: {text_a: a, text_b: b, label: label}
""",
    "models/catalog.yaml": """\
none: {kind: none, license: none needed}
small: {kind: huggingface, license: MIT, repo: owner/small, revision: 0123456789abcdef0123456789abcdef01234567}
chat: {kind: huggingface, license: MIT, repo: owner/chat, revision: 0123456789abcdef0123456789abcdef01234567}
""",
    "prompts/questions.yaml": """\
system: Do they mean the same?
user: "{text_a} / {text_b}"
answers: {"0": no, "1": yes}
""",
}
"""Path -> text. `no`, `yes` and `3e-5` are what YAML 1.1 would read as booleans and as text."""


def write(folder: Path, *edits: tuple[str, str, str], code: bool = False) -> Path:
    """The project in `folder`, with each (file, old, new) replaced; with `code`, the code is copied for edits."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("retune", "stages"):
        if code:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / name).symlink_to(ROOT / name)
    shutil.copy2(ROOT / "requirements.lock", folder)
    for edit in edits:
        replace(folder, *edit)
    return folder


def replace(folder: Path, name: str, old: str, new: str) -> None:
    """Replace a text that must occur in a file."""
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {name}"
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def resolved(folder: Path) -> dict:
    """The compiled project."""
    return resolve(folder).resolved
