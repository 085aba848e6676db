"""What a user is promised about mistakes: all are found before anything runs, each with its place and its remedy."""

import re

import pytest

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.declarations import write
from tests.support.mistakes import MISTAKES, D, M, P, Q


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_in_one_line_with_its_place(name, tmp_path):
    edit, expected = MISTAKES[name]
    with pytest.raises(RetuneError) as error:
        resolve(write(tmp_path, edit))
    lines = [line for line in str(error.value).splitlines() if expected in line]
    assert len(lines) == 1, str(error.value)
    assert re.match(r"  (params|data/catalog|models/catalog|prompts/questions)\.yaml:\d+: ", lines[0])


@pytest.mark.parametrize("labels", ["[a]", f"[{', '.join(f'l{n}' for n in range(500))}]", "5", "null"])
def test_wrong_labels_are_one_problem(labels, tmp_path):
    with pytest.raises(RetuneError) as error:
        resolve(write(tmp_path, (P, "kind: pair", f"kind: classification\n    labels: {labels}")))
    lines = str(error.value).splitlines()
    assert len([line for line in lines if line.partition(": ")[2].startswith("tasks.questions")]) == 1, str(error.value)
    assert max(map(len, lines)) < 300


def test_all_mistakes_of_all_files_are_reported_at_once(tmp_path):
    edits = [
        (P, "batch_size", "batch_sise"),
        (P, "{epochs: 2}", "{epochs: -2, select: acc}"),
        (P, "source: sample", "source: simple"),
        (P, "loss: {name: focal}", "loss: {name: focal}\n    lora: {r: 8}"),
        (P, "lora: {r: 16}", "lora: {r: 0, method: full}\nquantization: {bits: 4}"),
        (D, "generator: similarity", "generator: similar"),
        (M, "none: {kind: none,", "none: {kind: none, poling: cls,"),
        (Q, '"1": yes', '"1": no'),
    ]
    with pytest.raises(RetuneError) as error:
        resolve(write(tmp_path, *edits))
    text = str(error.value)
    for part in (
        "training.batch_sise", "chatty.training.epochs", "chatty.training.select", "`simple`", "cross.lora",
        "lora.r: is 0", "4-bit", "`similar`", "poling", "answers.0", "answers.1",
    ):  # fmt: skip
        assert part in text
    assert text.startswith("11 problems, nothing was written\n")


def test_a_missing_file_is_one_line_and_its_names_are_not_called_unknown(tmp_path):
    folder = write(tmp_path)
    (folder / D).unlink()
    (folder / M).write_text("")
    with pytest.raises(RetuneError) as error:
        resolve(folder)
    assert str(error.value).splitlines()[1:] == [f"  {D}: the file is missing", f"  {M}: the file is empty"]
