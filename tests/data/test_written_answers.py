"""What a model wrote names one label, or none."""

from __future__ import annotations

import pytest

from retune.data import written_answers


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" 办理取消\n", 1),
        ("意图是办理取消。", 1),
        ("办理取消或者查询", None),
        ("不办", None),
        ("The answer is: no.", 3),
        ("答案no查询", None),
        ("答案是no吧", 3),
        ("I know nothing", None),
        ("<think>查询？不，办理取消</think>查询", 2),
        ("<think>办理取消", None),
        (None, None),
    ],
)
def test_a_written_answer_is_read_exactly_or_by_the_one_label_that_it_holds(
    text: str | None, label: int | None
) -> None:
    assert written_answers.read(text, ["办理", "办理取消", "查询", "no"]) == label
