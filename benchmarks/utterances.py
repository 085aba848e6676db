"""Generated utterances of telecom customers for the benchmark's intent workload; no line is a real customer's.

Sentence patterns and slots stand in utterances.yaml; the same count and seed always give the same rows.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

PATTERNS = Path(__file__).with_name("utterances.yaml")
SEPARATOR = "[SEP]"
LENGTHS = range(15, 41)
"""Characters of one utterance."""
TWO_TURNS = 0.3
"""Share of the rows that are a dialogue of two turns."""


def generate(count: int, seed: int) -> list[tuple[str, str]]:
    """`count` different (label id, text), the 34 labels in turn so that each is as frequent as the others.

    Raises `ValueError` where the patterns do not have that many texts.
    """
    table: dict[str, Any] = yaml.safe_load(PATTERNS.read_text(encoding="utf-8"))
    chance = random.Random(seed)
    labels = list(table["intents"])
    rows: dict[str, str] = {}
    for index in range(count):
        if index % len(labels) == 0:
            chance.shuffle(labels)
        label = labels[index % len(labels)]
        rows[_new(table, label, chance, rows)] = label
    return [(label, text) for text, label in rows.items()]


def _new(table: dict[str, Any], label: str, chance: random.Random, seen: dict[str, str]) -> str:
    """A text of the label that is not among `seen`."""
    for _ in range(10_000):
        text = _text(table, label, chance)
        if len(text) in LENGTHS and text not in seen:
            return text
    raise ValueError(f"{PATTERNS.name} has too few texts of intent {label} for so many rows: ask for fewer")


def _text(table: dict[str, Any], label: str, chance: random.Random) -> str:
    said = chance.choice(table["openers"]) + chance.choice(table["intents"][label]) + chance.choice(table["closers"])
    turns = [said]
    if chance.random() < TWO_TURNS:
        turns = (
            [chance.choice(table["before"]), said] if chance.random() < 0.5 else [said, chance.choice(table["behind"])]
        )
    filled = SEPARATOR.join(turns)
    for slot, values in table["slots"].items():
        filled = filled.replace(f"{{{slot}}}", chance.choice(values))
    return filled
