"""Reading YAML: names are what DVC takes for names; catalogs may have anchors, which DVC never reads."""

import re
import textwrap

import pytest
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from retune.pipeline.yaml_file import DATE, NO_TEXT, read

SCALARS = st.from_regex(r"[0-9_+.exobTrunlfasyNI-]{1,10}( [0-9:.Z+-]{1,8})?", fullmatch=True)


@settings(max_examples=300, deadline=None)
@given(SCALARS)
@example("2024")
@example("1e5")
@example("1_000")
@example("0x1F")
@example("0o17")
@example("1.5")
@example(".inf")
@example("2024-01-01")
@example("2024-01-01T10:00:00Z")
@example("true")
@example("null")
@example("~")
@example("12a")
@example("2024-1")
@example("no")
@example("1-2")
def test_what_dvc_reads_as_no_text_is_known(name):
    assume(re.fullmatch(r"(?!- )[\w.+-]+( [\w.+:-]+)?", name))  # what may be meant as a name, or as a time
    try:
        (key,) = parse_yaml(f"{name}: 1\n", "params.yaml")
    except (YAMLFileCorruptedError, ValueError):
        return  # no YAML, or a date that does not exist: an error of DVC's own
    known = NO_TEXT.match(name) or DATE.match(name)
    assert bool(known) == (not isinstance(key, str)), (name, key)


@pytest.fixture
def write(tmp_path):
    def write(text, name="data/catalog.yaml"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        return read(tmp_path, name)

    return write


def test_a_catalog_may_have_anchors_and_merge_keys(write):
    document = write(
        """\
        train: &train
          kind: path
          tables: &tables [{file: a.csv}]
        test:
          <<: *train
          kind: url
          more: *tables
        both: {<<: [{kind: first}, *train]}
        """
    )
    assert document.problems == []
    assert document.data["test"] == {"kind": "url", "tables": [{"file": "a.csv"}], "more": [{"file": "a.csv"}]}
    assert document.data["both"] == {"kind": "first", "tables": [{"file": "a.csv"}]}
    assert document.lines[("test", "kind")] == 6


def test_an_anchor_within_itself_is_a_problem_and_no_endless_walk(write):
    document = write("a: &a [*a]\n")
    assert document.problems == [
        "data/catalog.yaml:1: a: an anchor stands within itself, or the values are nested too deeply"
    ]
    assert write("a: {<<: 5}\n").problems == ["data/catalog.yaml:1: a.<<: takes a mapping, or a list of mappings"]
