"""Every module of a kind is among those that the type checker holds to the kind's protocol."""

import ast

import pytest

from tests.support import ROOT

REGISTRIES = ("data/kinds", "evaluation/kinds", "evaluation/details", "report/kinds")


@pytest.mark.parametrize("registry", REGISTRIES)
def test_the_type_checker_checks_each_module_of_a_registry(registry):
    folder = ROOT / "retune" / registry
    tree = ast.parse((folder / "protocol.py").read_text(encoding="utf-8"))
    checked = [node.value for node in tree.body if isinstance(node, ast.AnnAssign)]
    names = {node.id for node in checked if isinstance(node, ast.Name)}
    others = {"__init__", "protocol", *(("texts",) if registry == "data/kinds" else ())}
    assert names == {path.stem for path in folder.glob("*.py")} - others
