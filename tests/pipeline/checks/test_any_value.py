"""A wrong value anywhere in the declarations is reported as a mistake; none ends in a traceback."""

import contextlib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.errors import RetuneError
from retune.pipeline.resolve import resolve
from tests.support.declarations import FILES, write

LEAVES = st.sampled_from(
    [None, True, 0, -1, 2.5, "", "a.b", "questions", "none", [], {}, [1], [{}], {"kind": "path"}, {"a": 1}]
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shared"))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_wrong_value_anywhere_is_a_message_and_never_a_crash(shared, data):
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = yaml.safe_load(FILES[name])
    at = content
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(LEAVES)
    (shared / name).write_text(yaml.safe_dump(content, sort_keys=False))
    with contextlib.suppress(RetuneError):
        assert resolve(shared).resolved["code"]
    (shared / name).write_text(FILES[name])
