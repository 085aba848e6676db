"""What an exploration says in sentences: facts, and warnings of what may spoil a training or its figures."""

from __future__ import annotations

from typing import Any

from retune.data.near_duplicates import ALIKE
from retune.report import words
from retune.report.words import and_, count, share

SOME = 0.01
"""The share of a split's rows above which a finding is a warning."""

MOSTLY = 0.6
"""The share of a dimension's training rows with one score above which that is a warning."""

FEW = 10
"""Training rows below which a label is called rare."""


def facts(found: dict[str, Any]) -> list[str]:
    """Sentences for the report's data section, with what is zero."""
    texts = []
    if sampled := [name for name, rows in found["rows"].items() if found["looked_at"][name] < rows]:
        parts = ", ".join(f"{count(found['looked_at'][n])} of {count(found['rows'][n])} rows of {n}" for n in sampled)
        texts.append(f"Looked at, by hash: {parts}; overlaps and unseen characters are those of this sample.")
    if found["scores"]:
        means = [f"{name} {words.number(part['splits']['train']['mean'], 2)}" for name, part in found["scores"].items()]
        texts.append(f"Mean training score: {', '.join(means)}.")
    for reader in found["tokens"]:
        test = reader["splits"]["test"]
        texts.append(
            f"Tokens of a test row as {and_(reader['models'])} {_read(reader)}: median {count(test['p50'])}, "
            f"95th percentile {count(test['p95'])}, at most {count(test['max'])}; limit {count(reader['max_length'])}"
            f"{_short(reader)}, which {_over(found, reader)} exceed."
        )
    if found["uncounted"]:
        texts.append(f"No tokens are counted for {and_(found['uncounted'])}: this base has no tokenizer.json.")
    near = [f"{count(e['near'])} of {names.replace(', ', ' and ')}" for names, e in found["alike"].items() if e["near"]]
    texts.append(f"Rows nearly the same in two splits (Jaccard index from {ALIKE:g}): {', '.join(near) or 'none'}.")
    conflicts = found["conflicts"]
    texts.append(
        f"The same texts with different targets: {count(conflicts['texts'])} texts in {count(conflicts['rows'])} rows."
    )
    unseen = found["unseen"]["test"]
    texts.append(
        f"Never seen in train: {share(unseen['characters'], 1)} of the characters and {share(unseen['pairs'], 1)} of "
        f"the pairs of characters of test; {share(unseen['rows'], 1)} of its rows hold such a character."
    )
    return texts


def leaks(found: dict[str, Any]) -> list[str]:
    """What makes the figures flatter: rows of other splits that stand in train too."""
    parts = []
    for names, entry in found["alike"].items():
        first, second = names.split(", ")
        if first == "train" and (number := entry["same"] + entry["near"]) > SOME * entry["rows"]:
            exactly = f"{count(entry['same'])} the same, {count(entry['near'])} nearly so"
            parts.append(f"{share(number, entry['rows'])} of the rows of {second} ({exactly})")
    if not parts:
        return []
    return [
        f"{and_(parts)} stand in train too: the figures may flatter. Rows that belong together need one `group`; "
        "`split.drop_shared` takes rows with the same texts out of train."
    ]


def warnings(found: dict[str, Any]) -> list[str]:
    """What else a reader must not overlook."""
    said = []
    train, rows = found["targets"]["train"], found["looked_at"]
    for label in found["labels"]:
        number = train.get(label, {}).get("rows", 0)
        if number == 0:
            said.append(f"No training row has the label {label}: no model can learn it.")
    for name, part in found["scores"].items():
        if not part["splits"]["train"]["rows"]:
            said.append(f"No training row has the dimension {name}: no model can learn it.")
        elif (most := max(part["histogram"]["shares"]["train"])) > MOSTLY:
            said.append(
                f"{share(most, 1)} of the training rows of {name} have one score: a constant is hard to beat there."
            )
    rare = [label for label in found["labels"] if 0 < train.get(label, {}).get("rows", 0) < FEW]
    if rare:
        said.append(f"Fewer than {FEW} training rows have the label {and_(rare)}.")
    for reader in found["tokens"]:
        parts = {name: number for name, number in reader["over"].items() if number > SOME * rows[name]}
        if parts:
            listed = and_([f"{share(number, rows[name])} of {name}" for name, number in parts.items()])
            said.append(
                f"{listed} is longer than the {count(reader['max_length'])} tokens that {and_(reader['models'])} may "
                f"read ({_short(reader).strip(' ()') or 'training.max_length'}): these rows are cut."
            )
        for name, number in reader["unknown"].items():
            if number > SOME:
                said.append(
                    f"{share(number, 1)} of the tokens of {name} are unknown to the tokenizer of {reader['base']}: "
                    "another base may suit this language better."
                )
    conflicts = found["conflicts"]["rows"]
    if conflicts > SOME * sum(rows.values()):
        said.append(f"{share(conflicts, sum(rows.values()))} of the rows have the texts of a row with another target.")
    return said


def _read(reader: dict[str, Any]) -> str:
    """`reads it` or `read it`, with what is not counted."""
    verb = "read it" if len(reader["models"]) > 1 else "reads it"
    return f"{verb}, without the chat template's own" if reader["learner"] == "llm" else verb


def _short(reader: dict[str, Any]) -> str:
    """Why the limit is less than `training.max_length` asks for; nothing where it is not."""
    if reader["max_length"] == reader["asked"]:
        return ""
    return f" (the positions of {reader['base']}; training.max_length is {count(reader['asked'])})"


def _over(found: dict[str, Any], reader: dict[str, Any]) -> str:
    parts = [
        f"{share(number, found['looked_at'][name])} of {name}" for name, number in reader["over"].items() if number
    ]
    return and_(parts) if parts else "no rows"
