"""What is allowed and still deserves a look is a warning, with its place."""

import pytest

from retune.pipeline.resolve import resolve
from tests.support.declarations import replace, write

pytestmark = pytest.mark.slow

P, M, Q = "params.yaml", "models/catalog.yaml", "prompts/questions.yaml"

WARNINGS = {
    "no linear model": (
        (P, "  plain: {task: questions, learner: linear, base: scratch}\n", ""),
        "tasks.questions has no `linear` model",
    ),
    "no untuned model": ((P, "{epochs: 0}", "{epochs: 1}"), "tasks.questions has no untuned model"),
    "idle base": (
        (P, "encoder: small", "encoder: small\n  idle: small"),
        "bases.idle is fetched, but no model uses it",
    ),
    "unknown placeholder": (
        (Q, "{text_b}", "{text_b} {text_c}"),
        "prompts/questions.yaml:2: `{text_c}` stays in the prompt as it is: there is no column `text_c`",
    ),
    "branch of a data set": (
        (P, "source: sample", "source: hub"),
        "data/catalog.yaml:19: hub follows `main` of owner/rows, which can change under the same name; `retune pin",
    ),
    "branch of a checkpoint": (
        (M, "repo: owner/chat, revision: 0123456789abcdef0123456789abcdef01234567", "repo: owner/chat, revision: v1"),
        "models/catalog.yaml:3: chat follows `v1` of owner/chat",
    ),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The warnings without an edit."""
    return resolve(write(tmp_path_factory.mktemp("clean"))).warnings


@pytest.mark.parametrize("name", WARNINGS)
def test_a_doubtful_choice_is_a_warning(name, clean, tmp_path):
    edit, expected = WARNINGS[name]
    found = resolve(write(tmp_path, edit))
    assert found.resolved
    assert not any(expected in line for line in clean)
    assert any(expected in line for line in found.warnings)


def test_strict_false_is_warned_of_and_makes_nothing_stale(tmp_path):
    before = resolve(write(tmp_path))
    replace(tmp_path, "params.yaml", "seed: 7\n", "seed: 7\nstrict: false\n")
    after = resolve(tmp_path)
    said = "params.yaml:2: strict is off: what a stage uses and does not declare makes nothing stale"
    assert said in after.warnings
    assert said not in before.warnings
    assert after.resolved == {**before.resolved, "strict": False}
