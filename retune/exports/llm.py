"""An LLM as a folder that transformers and peft open alone: the adapter with its base, or both merged into one model.

    adapter   adapter_config.json, adapter_model.safetensors, tokenizer, generation_config.json, prompt.json
              base/   the frozen model, where no hub has it; `base_model_name_or_path` is then `base`, which peft looks
                      for in the working directory: open it from inside the folder
    merged    config.json, model-0000N-of-0000M.safetensors, tokenizer, generation_config.json, prompt.json

prompt.json is what a foreign loader cannot know: the messages, the answers, the temperature, the threshold.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retune.encoders import tokens
from retune.errors import RetuneError
from retune.learners.llm.task_prompt import prepare
from retune.llm import adapter
from retune.llm.prompt import prompt, template
from retune.training import hardware, pretrained

if TYPE_CHECKING:
    from retune.params import Params

BASE = "base"
"""Folder of a copied base inside of an adapter's export."""
GENERATION = "generation_config.json"
PROMPT = "prompt.json"
SHARD = "4GB"
COMMIT = re.compile(r"[0-9a-f]{40}")
FITTED = ("temperature", "threshold", "abstain_below", "none_below", "estimate")
DATE = "1 January 2025"
"""The day that a chat template prints, as in training (retune.llm.prompt.prompt)."""


def write_adapter(model: Path, base: Path, out: Path, copy: bool = True) -> str:
    """Write the adapter of folder `model` into `out`, and the base where it can't be fetched; the base's name there.

    A base of the Hugging Face hub that was fetched at a commit is named by both; any other is copied into `out`/base.
    Without `copy` the base is the caller's, and only the adapter is written.
    Raises `RetuneError` for a model without an adapter.
    """
    if not (model / adapter.WEIGHTS).is_file():
        raise RetuneError(
            f"{model.name} has no adapter (it is untuned, or all weights were trained): set `merge: true`"
        )
    config = json.loads((model / adapter.CONFIG).read_text(encoding="utf-8"))
    name, revision = hub_name(base) or (BASE if copy else "..", None)
    config |= {"base_model_name_or_path": name, "revision": revision}
    (out / adapter.CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shutil.copyfile(model / adapter.WEIGHTS, out / adapter.WEIGHTS)
    if copy:
        write_tokenizer(base, out)
    if name == BASE:
        copy_base(base, out / BASE)
    return name


def hub_name(base: Path) -> tuple[str, str] | None:
    """The repository and commit on the Hugging Face hub that a base folder was fetched from; None: it has none."""
    source = base / "SOURCE.json"
    record: dict[str, Any] = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    if record.get("kind") != "huggingface" or not COMMIT.fullmatch(record.get("revision") or ""):
        return None
    return record["repo"], record["revision"]


def copy_base(base: Path, out: Path) -> None:
    """Copy config and weights of a base, in the numbers that they have there, and its tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(base.iterdir()):
        if file.suffix == ".safetensors" or file.name in ("config.json", "model.safetensors.index.json"):
            shutil.copyfile(file, out / file.name)
    write_tokenizer(base, out)


def write_tokenizer(base: Path, out: Path) -> None:
    """Write tokenizer, chat template and generation config; a template that prints the day prints that of training."""
    tokenizer = tokens.tokenizer_of(base)
    if "strftime_now" in (tokenizer.chat_template or ""):
        tokenizer.chat_template = prompt.FIXED_DATE + tokenizer.chat_template
    tokenizer.save_pretrained(out)
    if (base / GENERATION).is_file():
        shutil.copyfile(base / GENERATION, out / GENERATION)


def write_merged(model: Path, base: Path, spec: Params, out: Path, dtype: torch.dtype) -> None:
    """Write base and adapter as one model in `dtype`.

    A base that was quantised in training is quantised alike, widened to float32, and the adapter is added there: each
    weight is rounded once, to `dtype`. (peft's own merge would quantise the sum again.) Takes 4 bytes a parameter.
    """
    tuned, whole = spec.training.epochs > 0, adapter.trained_whole(spec)
    stored = model if whole else base
    chosen = hardware.choose(spec.hardware, tree_attention=True)
    merged: PreTrainedModel = adapter.load_base(stored, spec, chosen)
    if spec.quantization.bits != 16 and not whole:
        with pretrained.quiet():
            merged = merged.dequantize(torch.float32)
    merged = merged.float()
    if tuned and not whole:
        merged = adapter.attach(merged, model, chosen).merge_and_unload(safe_merge=True)
    merged = merged.to(dtype)
    for weight in merged.parameters():
        weight.data = weight.data.contiguous()  # in training the longer side lies along the rows
    merged.config.dtype = dtype
    with pretrained.quiet():
        merged.save_pretrained(out, max_shard_size=SHARD)
    (out / GENERATION).unlink(missing_ok=True)  # transformers' own; the base's follows
    write_tokenizer(base, out)


def frame(tokenizer: PreTrainedTokenizerBase, spec: Params) -> tuple[str, str, str, str]:
    """The prompt's text around the user's: what the chat template writes first, the system text, and what follows each.

    The last one ends where the answer begins: of a model that thinks, behind an empty block of thoughts.
    """
    system, thinking = template.system(spec.prompt, spec.labels), bool(spec.training.get("thinking", False))
    # not public there: the name is a part of the fingerprint of every trained model
    before, between, after, _ = prompt._frame(tokenizer, system, thinking)
    block = f"{prompt.OPEN}\n\n{prompt.CLOSE}\n\n" if thinking else ""
    return before, system, between, after + block


def write_prompt(spec: Params, base: Path, fitted: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write prompt.json, see `prompt_of`."""
    card = prompt_of(spec, base, fitted)
    (out / PROMPT).write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return card


def prompt_of(spec: Params, base: Path, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers needs to ask as in training.

    `messages` with {column}; `after`, the text behind the chat template's own; `answers` in the order of `labels`;
    `end`, the text behind an answer; `values`, what is shown for a column's value; and what was fitted. Of a
    model that thinks it is the answer without a thought. Raises `RetuneError` where the chat template can't be brought
    to the prompt of training.
    """
    chat, tokenizer = prepare(spec, base), tokens.tokenizer_of(base)
    before, system, between, after = frame(tokenizer, spec)
    options = {"enable_thinking": chat.think is not None, "date_string": DATE}
    options = {name: value for name, value in options.items() if name in tokenizer.get_chat_template()}
    whole = before + system + between + chat.user + after
    for messages in _conversations(system, chat.user):
        if (suffix := _suffix(tokenizer, messages, options, whole)) is not None:
            break
    else:
        raise RetuneError(f"the chat template of {base.name} does not write the prompt of training: export a decision")
    return {
        "messages": messages,
        "after": suffix,
        "chat_template_kwargs": options,
        "fields": list(chat.fields),
        "values": {name: dict(values) for name, values in chat.values.items()},
        "labels": list(chat.labels),
        "answers": [str(spec.prompt.answers[label]) for label in chat.labels],
        "end": chat.tokenizer.decode([chat.after_answer], skip_special_tokens=False),
        "max_length": chat.max_length,
        **{name: fitted[name] for name in FITTED if name in fitted},
    }


def _conversations(system: str, user: str) -> list[list[dict[str, str]]]:
    """How the prompt may be put into messages: a template without a system role has all in the user's."""
    asked = {"role": "user", "content": user}
    if not system:
        return [[asked]]
    return [
        [{"role": "system", "content": system}, asked],
        [{"role": "user", "content": f"{system}\n\n{user}"}],
    ]


def _suffix(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], options: dict[str, Any], whole: str
) -> str | None:
    """What the chat template leaves out at the end of the prompt; None where it writes another one."""
    fixed = prompt.FIXED_DATE + tokenizer.get_chat_template()
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=fixed, **options
        )
    except Exception:  # any error of a template: it refuses these messages
        return None
    return whole.removeprefix(text) if whole.startswith(text) else None
