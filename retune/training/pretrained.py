"""Reading pretrained weights with transformers, whose own chatter (not its errors) stays out of the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import PreTrainedModel

from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.training.hardware import Chosen


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let transformers tell errors alone, without progress bars, while the block runs."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


def load(auto: Any, folder: Path, dtype: torch.dtype, chosen: Chosen, **more: Any) -> PreTrainedModel:
    """The model of a Hugging Face folder by `auto`, a class such as AutoModel; `more` goes to its `from_pretrained`.

    Raises `RetuneError` where the attention kernel does not fit the model.
    """
    try:
        with quiet():
            model: PreTrainedModel = auto.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=chosen.attention,
                trust_remote_code=False,
                use_safetensors=True,
                **more,
            )
    except ValueError as error:
        if "attention" not in str(error):
            raise
        raise RetuneError(f"hardware.attention {chosen.attention} does not fit {folder}: {error}; use eager") from None
    return model
