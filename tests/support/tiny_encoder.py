"""A tiny random BERT with a WordPiece tokenizer, as a base folder, for the tests of the encoders."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

CHARACTERS = (
    "花呗借余额宝怎么如何还款提前高度退吗为什不能用利息多少时候转出收益开通关闭支付账单"
    "分期逾未到密码修改手机号银行卡绑定query:的我"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per character that is known; `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]` with token types."""
    pieces = [*SPECIAL, *sorted(set(CHARACTERS)), *sorted(f"##{c}" for c in set(CHARACTERS))]
    ids = {piece: number for number, piece in enumerate(pieces)}
    words = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    names = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=128,
        **names,
    )


def tiny_encoder(folder: Path, pooler: bool = False, seed: int = 0) -> Path:
    """Write model, tokenizer and SOURCE.json into `folder` as a base folder and give it back."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=0,
    )
    BertModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    words.save_pretrained(folder)
    source = {"name": "tiny", "kind": "path", "license": "none needed", "pooling": "mean", "query_prefix": "query: "}
    (folder / "SOURCE.json").write_text(json.dumps(source), encoding="utf-8")
    return folder


def pairs(rows: int = 64) -> pl.DataFrame:
    """Pairs of questions that anyone can tell apart: label 1 where both ask about the same product."""
    products, asked = (
        ["花呗", "借呗", "余额宝", "银行卡"],
        ["怎么还款", "如何提前还", "为什么不能用", "怎么开通", "怎么关闭", "利息多少"],
    )
    table = []
    for i in range(rows):
        first, second = products[i % 4], products[(i + (i // 4) % 2) % 4]
        a, b = first + asked[i % 6], second + asked[(i // 2 + 1) % 6] + "的" * (i % 5)
        table.append({"id": f"r{i}", "group": f"g{i}", "text_a": a, "text_b": b, "label": int(first == second)})
    return pl.DataFrame(table, schema_overrides={"label": pl.Int8})
