"""A value of a YAML file is changed in its place, and every other character stays."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retune.errors import RetuneError
from retune.yaml_edit import replaced, set_value
from tests.support import ROOT


@pytest.mark.parametrize(
    ("text", "keys", "value", "edited"),
    [
        ("a:\n  b: 1   # why\n\n# tail\nz: 2\n", "a.b", 5, "a:\n  b: 5   # why\n\n# tail\nz: 2\n"),
        ("a:\n  b: 1   # why\n\n# tail\nz: 2\n", "a.n", 5, "a:\n  b: 1   # why\n  n: 5\n\n# tail\nz: 2\n"),
        ("a: {b: 1,\n    c: 2}\n", "a.n", "best", "a: {b: 1,\n    c: 2, n: best}\n"),
        ("a: {}\n", "a.b.c", None, "a: {b: {c: null}}\n"),
        ("a:\n  b:   # none\n", "a.b", True, "a:\n  b: true   # none\n"),
        ("a:\n  b: |\n    x\nz: 1\n", "a.b", 1, "a:\n  b: 1\nz: 1\n"),
        ("a:\n    - 1\n    - b: 2\n# end\n", "q", [1, "x: y"], "a:\n    - 1\n    - b: 2\nq: [1, 'x: y']\n# end\n"),
        ("a:\n  b: 1", "a.c", "no", "a:\n  b: 1\n  c: 'no'\n"),
    ],
)
def test_one_value_changes(text, keys, value, edited):
    assert replaced(text, tuple(keys.split(".")), value) == edited


def test_a_new_key_stands_behind_the_one_that_is_named():
    assert replaced("a:\n  repo: r\n  kind: k\n", ("a", "revision"), "f00", after="repo") == (
        "a:\n  repo: r\n  revision: f00\n  kind: k\n"
    )


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False)))
def test_any_scalar_is_read_back(value):
    edited = replaced("a:\n  b: 1  # why\n", ("a", "b"), value)
    assert yaml.safe_load(edited) == {"a": {"b": value}}


def test_the_parameters_of_the_project_change_in_one_line():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    edited = replaced(text, ("models", "similarity_llm", "training", "checkpoint"), 40)
    assert [line for line in edited.splitlines() if line not in text.splitlines()] == ["      checkpoint: 40"]


def test_what_is_no_mapping_is_an_error_and_leaves_the_file_alone(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(RetuneError, match=r"params\.yaml: a\.b cannot be set, since `a` is no mapping"):
        set_value(file, ("a", "b"), 2)
    assert file.read_text(encoding="utf-8") == "a: 1\n"
    assert list(tmp_path.iterdir()) == [file]
