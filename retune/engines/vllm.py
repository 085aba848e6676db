"""vLLM: its command line for exports, and label probabilities from its /v1/completions (as of vLLM 0.33).

A prompt goes there as the token ids that the model itself reads, one token is asked for, and `logprob_token_ids` names
those with which answers go on: the log-probabilities of just these come back, however unlikely they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.engines.export import Export, one_base
from retune.errors import RetuneError
from retune.llm.label_scoring import log_probs_of_edges, trie_of
from retune.llm.prompt import prompt, targets
from retune.serve.refusal import Unavailable

if TYPE_CHECKING:
    from retune.engines.endpoint import Endpoint

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank takes."""
AT_ONCE = 128
"""The most ids that `logprob_token_ids` takes."""
TOKEN = "VLLM_API_KEY"
"""The environment's variable that holds its token."""
INSTALL = "vLLM is not installed: `pip install vllm` (it brings its own torch: best into an environment of its own, " \
    "with its `vllm` on the PATH)"  # fmt: skip


def command(exports: list[Export], host: str, port: int) -> list[str]:
    """The command line of one server for exports. Raises `RetuneError` for what vLLM can't serve, or not together."""
    one_base(exports)
    first = exports[0]
    adapters = {one.name: one.adapter for one in exports if one.adapter}
    words = ["vllm", "serve", first.hub[0] if first.hub else str(first.weights)]
    if first.hub:
        words += ["--revision", first.hub[1]]
    words += ["--tokenizer", str(first.folder)]
    if first.template:
        words += ["--chat-template", str(first.template)]
    base = str(first.card.spec.base_name)
    words += ["--served-model-name", first.name if not adapters else f"{base}-base" if base in adapters else base]
    words += ["--host", host, "--port", str(port), "--dtype", _dtype(first)]
    words += ["--max-model-len", str(max(map(_length, exports)))]
    words += ["--generation-config", "vllm", "--disable-uvicorn-access-log"]
    if adapters:
        words += ["--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", str(max(map(_rank, exports)))]
        words += ["--lora-modules", *(f"{name}={place}" for name, place in adapters.items())]
    return words


def environment() -> dict[str, str]:
    """What it gets beside the environment of this process: no report of how it is used is sent."""
    return {"VLLM_NO_USAGE_STATS": "1"}


def _dtype(export: Export) -> str:
    """The numbers of the weights: `auto` would make float16 of float32."""
    config = export.config()
    return str(config.get("dtype") or config.get("torch_dtype") or "auto")


def _length(export: Export) -> int:
    """The longest prompt of the training, the longest way to an answer's last choice, and one token."""
    chat = export.chat
    longest = chat.max_length + len(targets.think_block(chat, [])) + max(map(len, chat.answers)) + 1
    return min(longest, int(export.config().get("max_position_embeddings") or longest))


def _rank(export: Export) -> int:
    """The next rank that vLLM takes. Raises `RetuneError` for an adapter that it can't read."""
    config = export.adapter_config()
    remedy = "export it with `merge: true`"
    if config.get("use_dora"):
        raise RetuneError(f"{export.name} is a DoRA adapter, which vLLM does not serve: {remedy}")
    if config.get("modules_to_save"):
        raise RetuneError(f"{export.name} trained whole layers beside its adapter, which vLLM does not serve: {remedy}")
    rank = max([int(config["r"]), *config.get("rank_pattern", {}).values()])
    if rank > RANKS[-1]:
        raise RetuneError(f"{export.name} has rank {rank}, more than the {RANKS[-1]} of vLLM: {remedy}")
    return next(one for one in RANKS if one >= rank)


class Vllm:
    """A model that vLLM serves: what it says to a prompt is read as `retune.load` reads the model's own logits."""

    def __init__(self, export: Export, endpoint: Endpoint) -> None:
        self.name, self.chat, self.endpoint = export.name, export.chat, endpoint
        self.trie = trie_of(self.chat.answers, self.chat.after_answer)
        self.max_length = self.chat.max_length

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated for the rows, before the calibration."""
        prompts, block = prompt.encode(self.chat, frame), targets.think_block(self.chat, [])
        logs = np.zeros((len(frame), len(self.trie.edges)))
        for place, node in enumerate(self.trie.nodes):
            edges = [(edge, token) for edge, (at, token) in enumerate(self.trie.edges) if at == place]
            sequences = [[*ids, *block, *node] for ids in prompts.ids]
            for start in range(0, len(edges), AT_ONCE):
                some = edges[start : start + AT_ONCE]
                found = self.log_probs(sequences, [token for _, token in some])
                logs[:, [edge for edge, _ in some]] = found
        return labels.predictions(
            frame["id"], log_probs_of_edges(logs, self.trie), self.chat.labels, np.array(prompts.truncated, dtype=bool)
        )

    def log_probs(self, sequences: Sequence[list[int]], tokens: list[int]) -> np.ndarray:
        """How likely each of `tokens` comes next: [sequences, tokens], on one scale for each sequence.

        vLLM's `--logprobs-mode` does not matter: they are log-probabilities or logits, and are normalised later.
        """
        said = self.endpoint.post("/v1/completions", request(self.name, sequences, tokens))
        try:
            choices = {int(one["index"]): one["logprobs"]["top_logprobs"][0] for one in said["choices"]}
            return np.array(
                [[float(choices[row][f"token_id:{token}"]) for token in tokens] for row in range(len(sequences))]
            )
        except (KeyError, TypeError, ValueError, IndexError):
            raise Unavailable(
                502, "the engine did not tell the log-probabilities of the answers' tokens: is it vLLM 0.33 or newer?"
            ) from None


def request(name: str, sequences: Sequence[list[int]], tokens: list[int]) -> dict[str, Any]:
    """The body of a request to /v1/completions; nothing that a server may have as its default changes the numbers."""
    return {
        "model": name,
        "prompt": [list(ids) for ids in sequences],
        "max_tokens": 1,
        "temperature": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logprobs": len(tokens),
        "logprob_token_ids": tokens,
        "return_tokens_as_token_ids": True,
    }
