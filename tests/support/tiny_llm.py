"""Tiny random causal models of several families and a small tokenizer, as base folders, for the tests of the LLM."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
QUESTIONS = [
    ("花呗如何还款", "花呗怎么还钱", 1),
    ("借呗额度怎么提高", "怎么提高借呗的额度", 1),
    ("花呗可以退款吗", "借呗可以提前还款吗", 0),
    ("余额宝怎么转出", "余额宝收益怎么算", 0),
    ("为什么花呗不能用", "花呗为什么用不了", 1),
    ("借呗利息是多少", "借呗什么时候还款", 0),
]
FAMILIES = ("qwen2", "qwen3", "llama", "mistral", "glm4", "gemma3_text")


def tokenizer(chat_template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred pieces with two control tokens and one added token that is no control token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(["是 否 问题1： 问题2：", *(f"{a} {b}" for a, b, _ in QUESTIONS)] * 3, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    wrapped.add_tokens(["<tool_call>"])
    wrapped.chat_template = chat_template
    return wrapped


def model(family: str = "qwen2", vocabulary: int = 512, seed: int = 0, window: int = 16) -> torch.nn.Module:
    """A random model of two layers (Gemma: one with a sliding window) whose outputs are far from uniform."""
    torch.manual_seed(seed)
    more = {}
    if family == "gemma3_text":
        more = {"sliding_window": window, "layer_types": ["sliding_attention", "full_attention"]}
    if family in ("qwen3", "gemma3_text", "glm4", "mistral"):
        more["head_dim"] = 8
    if family == "mistral":
        more["sliding_window"] = window
    config = AutoConfig.for_model(
        family,
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.15,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        **more,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def tiny_llm(folder: Path, family: str = "qwen2", chat_template: str | None = CHATML) -> Path:
    """Write model and tokenizer into `folder` as a base folder and give it back."""
    words = tokenizer(chat_template)
    model(family, vocabulary=len(words)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
