"""The packages import each other in one direction; `make lint` tells an arrow against it, and a cycle."""

import pytest

from tests.support import ROOT
from tests.support.layers import drawing, graph, problems


@pytest.fixture
def tree(tmp_path):
    """Write modules ({path: source}) below an otherwise empty project, and read the imports between them."""

    def write(files: dict[str, str]):
        for name, source in {"retune/__init__.py": "", **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source)
        return graph(tmp_path)

    return write


def test_the_code_has_no_cycle_and_no_arrow_that_is_not_allowed():
    assert problems(graph(ROOT)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from retune.training.trainer import fit",
        "import retune.training.trainer",
        "from ..training import trainer",
        "def late():\n    from retune.training.trainer import fit",
    ],
)
def test_an_arrow_against_the_table_is_told_with_its_place_and_what_is_allowed(tree, source):
    (found,) = problems(tree({"retune/evaluation/counts.py": source, "retune/training/trainer.py": ""}))
    line = source.count("\n") + 1
    assert found == (
        f"retune.evaluation.counts imports retune.training.trainer (line {line}), "
        "but evaluation may not import training (it may: data, sources)"
    )


def test_an_allowed_arrow_a_leaf_and_an_import_for_types_are_no_problem(tree):
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from retune.pipeline import stage\n"
    imports = tree(
        {
            "retune/errors.py": "",
            "retune/pipeline/stage.py": "",
            "retune/data/labels.py": for_types,
            "retune/evaluation/counts.py": "from retune.data.labels import RELEVANT\nfrom retune.errors import Error",
        }
    )
    assert problems(imports) == []
    assert "evaluation   -> data\n" in drawing(imports)


def test_nothing_imports_a_face_or_a_stage(tree):
    source = "from retune.cli import app\nfrom stages.train import train"
    found = problems(tree({"retune/cli.py": "", "stages/train.py": "", "retune/learners/api.py": source}))
    assert [line.partition(",")[0] for line in found] == [
        "retune.learners.api imports retune.cli (line 1)",
        "retune.learners.api imports stages.train (line 2)",
    ]


def test_a_cycle_of_modules_is_told_inside_a_package_too(tree):
    (found,) = problems(
        tree(
            {
                "retune/data/split.py": "from retune.data.balance import balanced",
                "retune/data/balance.py": "def late():\n    from retune.data import split",
            }
        )
    )
    assert found.startswith("modules import each other in a cycle: ")
    assert {"retune.data.split", "retune.data.balance"} <= set(found.split())


def test_a_package_that_the_table_does_not_know_is_told(tree):
    (found,) = problems(
        tree(
            {
                "retune/cluster/__init__.py": "",
                "retune/data/labels.py": "",
                "stages/cluster.py": "import retune.cluster",
            }
        )
    )
    assert found.startswith("retune/cluster is not in the table")
