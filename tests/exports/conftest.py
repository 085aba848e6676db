"""What the tests of exports share."""

from __future__ import annotations

import pytest

from retune.exports.protocol import Built
from tests.support import exported_llm


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A tiny trained LLM; tests leave its folder as it is."""
    return exported_llm.fitted(tmp_path_factory.mktemp("tiny"))
