"""Turn a GGUF file (llama.cpp's quantised format) into a plain Hugging Face folder in bfloat16.

transformers reads and dequantises the tensors. Of the tokenizer it leaves out what GGUF does not spell and llama.cpp
has in code (`llama-vocab.cpp`, by `tokenizer.ggml.pre`); `correct` brings it back, as in the original repositories.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retune.progress import bar
from retune.sources.checkpoints.quiet import quiet


def convert(file: Path, folder: Path) -> None:
    """Write config, safetensors (bfloat16), tokenizer and chat template into `folder`; the same bytes each time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with quiet(), read_once():
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.config._name_or_path = ""
        model.save_pretrained(folder, max_shard_size="100GB")
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    correct(tokenizer, pre_tokenizer(file))
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    _plain_class(folder / "tokenizer_config.json")


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Keep the parsed file inside the block: transformers parses its 300,000 strings three times, 10 seconds each.

    Its progress bar, which would fill a log, is replaced by ours.
    """
    import gguf
    from transformers import modeling_gguf_pytorch_utils as loader

    reader, loader_bar = gguf.GGUFReader, loader.tqdm
    loader.tqdm = bar
    gguf.GGUFReader = functools.cache(reader)  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        gguf.GGUFReader = reader  # type: ignore[misc]
        loader.tqdm = loader_bar


def pre_tokenizer(file: Path) -> str:
    """Read the name by which llama.cpp picks a way to split text: `qwen2`, `smollm`, `default`."""
    from transformers.integrations.gguf.reader import read_gguf_metadata

    return str(read_gguf_metadata(str(file), ())[0].get("tokenizer.ggml.pre", "default"))


def correct(tokenizer: Any, pre: str) -> None:
    """Give a tokenizer what its original has and the GGUF reader leaves out.

    Qwen2 composes characters first (NFC); SmolLM splits every digit from its neighbours.
    """
    from tokenizers import normalizers, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    if pre == "qwen2":
        backend.normalizer = normalizers.NFC()
    elif pre == "smollm":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


def _plain_class(path: Path) -> None:
    """Name the class that takes tokenizer.json as it is; model classes rebuild it and lose the corrections."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "TokenizersBackend"
    for key in ("backend", "is_local", "local_files_only", "add_prefix_space"):
        config.pop(key, None)
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
