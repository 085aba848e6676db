"""What long inputs lose: their middle or their end, the longer text of a pair first, never a special token."""

import pytest

from retune.encoders import tokens
from tests.support import tiny_llm
from tests.support.tiny_encoder import tiny_encoder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tokens.tokenizer_of(tiny_encoder(tmp_path_factory.mktemp("base")))


def content(tokenizer, row):
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    return [token for token in row.ids if token not in special]


def known(tokenizer, count):
    """Text of `count` different characters, each a token of its own."""
    return "".join(sorted(piece for piece in tokenizer.get_vocab() if len(piece) == 1 and piece.isalpha())[:count])


@pytest.mark.parametrize(("truncation", "kept"), [("end", slice(0, 6)), ("middle", None)])
def test_a_long_text_loses_what_is_asked(tokenizer, truncation, kept):
    text = known(tokenizer, 40)
    (whole,) = tokens.encode(tokenizer, [text], None, 500)
    full = content(tokenizer, whole)
    assert len(set(full)) == len(full) == 40
    special = len(whole.ids) - len(full)
    (row,) = tokens.encode(tokenizer, [text], None, 6 + special, truncation)
    assert row.truncated
    assert len(row.ids) == 6 + special
    assert (row.ids[0], row.ids[-1]) == (whole.ids[0], whole.ids[-1])
    assert content(tokenizer, row) == (full[kept] if kept else full[:3] + full[-3:])
    assert row.types is None or len(row.types) == len(row.ids)


@pytest.mark.parametrize("truncation", ["end", "middle"])
@pytest.mark.parametrize("lengths", [(40, 3), (3, 40), (40, 40), (41, 8), (7, 6)])
def test_of_a_pair_the_longer_text_is_cut_until_both_fit(tokenizer, truncation, lengths):
    texts = ["".join(chr(0x4E00 + 50 * k + i) for i in range(n)) for k, n in enumerate(lengths)]
    (whole,) = tokens.encode(tokenizer, texts[:1], texts[1:], 500)
    special = len(whole.ids) - len(content(tokenizer, whole))
    (row,) = tokens.encode(tokenizer, texts[:1], texts[1:], 13 + special, truncation)
    first, second = (content(tokenizer, tokens.encode(tokenizer, [t], None, 500)[0]) for t in texts)
    a, b = len(first), len(second)
    keep_a = a if a <= 6 else max(13 - b, 7) if a + b > 13 else a
    keep_a = min(a, keep_a)
    keep_b = min(b, 13 - keep_a)
    assert len(content(tokenizer, row)) == keep_a + keep_b == min(13, a + b)
    assert row.truncated == (a + b > 13)


def test_a_prompt_keeps_both_ends_of_a_long_dialogue():
    import polars as pl

    from retune.llm.prompt.prompt import encode, prepare

    template = {"system": None, "user": "对话：{text}", "answers": {"a": "甲", "b": "乙"}}
    text = "开头" + "中" * 300 + "结尾"
    frame = pl.DataFrame({"text": [text, "短"]})
    tokenizer = tiny_llm.tokenizer()
    shown = {}
    for truncation in ("middle", "end"):
        chat = prepare(tokenizer, template, ("text",), ("a", "b"), 80, truncation)
        prompts = encode(chat, frame)
        assert prompts.truncated == [True, False]
        assert len(prompts.ids[0]) + 2 <= 80
        shown[truncation] = tokenizer.decode(prompts.ids[0])
    assert "开头" in shown["middle"]
    assert "结尾" in shown["middle"]
    assert "开头" in shown["end"]
    assert "结尾" not in shown["end"]


def test_the_labels_are_listed_with_their_answers_where_the_prompt_asks():
    from retune.llm.prompt.prompt import prepare

    tokenizer = tiny_llm.tokenizer()
    heads = {}
    for answers in ({"甲": "甲", "乙": "乙"}, {"甲": "01", "乙": "02"}):
        template = {"system": "标签：\n{labels}", "user": "{text}", "answers": answers}
        heads[answers["甲"]] = tokenizer.decode(prepare(tokenizer, template, ("text",), ("甲", "乙"), 200).head)
    assert "标签：\n甲\n乙" in heads["甲"]
    assert "标签：\n01 甲\n02 乙" in heads["01"]
