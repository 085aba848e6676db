"""Attention over a packed row (see prefix_tree): every token attends to its own history and to nothing else.

Registered with transformers as the attention implementation `retune_tree`. A forward pass that is given `tree=`
attends along it; one that is given `prefix=` attends to that, too (rows that are written together,
retune.llm.generation); any other pass is plain scaled dot-product attention. Three kernels compute the same values:

- `chunks`: tokens that one sequence added attend, as a small batch, to the keys of their sequence. The work grows with
  the branches, not with the square of the packed row: the choice on a processor.
- `dense`: torch's scaled dot-product attention with the ancestor mask (tokens, tokens).
- `flex`: FlexAttention with the mask as a block mask, compiled; blocks that nobody sees are skipped. For long rows on a
  CUDA GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from retune.errors import RetuneError
from retune.llm.packing.chunk_attention import chunk_attention
from retune.llm.packing.prefix_attention import Prefix, attend_with_prefix

if TYPE_CHECKING:
    from retune.llm.packing.prefix_tree import Chunk, PackedRow

KeyValues = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Keys and values (key-value heads, tokens, d) by layer."""

NAME = "retune_tree"
DENSE_TOKENS = 2048
"""Packed tokens up to which a GPU takes the dense mask: at most 4 MiB, and nothing to compile."""


READ_ELSEWHERE = {
    "is_causal", "position_ids", "output_attentions", "output_hidden_states", "output_router_logits", "use_cache",
    "return_dict", "cache_position", "logits_to_keep", "layer_idx",
}  # fmt: skip
"""Keywords of transformers' attention interface that change no value where a tree tells who attends to whom."""


class UnreadKeyword(RetuneError):
    """A model hands its attention more than a tree's attention knows of."""


@dataclass(frozen=True)
class Group:
    """Chunks of similar size as one padded batch: packed positions of their queries and keys."""

    queries: torch.Tensor  # (chunks, T) int64; padding repeats position 0
    shared_keys: torch.Tensor  # (C,) the history that all of them share
    own_keys: torch.Tensor  # (chunks, L) the rest of each one's history and its own tokens; padding repeats position 0
    distance: torch.Tensor  # (chunks, T, C + L): how far back a key stands; negative where it is masked
    places: torch.Tensor  # (tokens of the chunks,) index of each real query in the flattened (chunks * T)
    positions: torch.Tensor  # (tokens of the chunks,) its packed position


class Tree:
    """A packed row on a device, and the kernel that attends along it.

    `head_positions` (positions,) are where its last hidden states are read, None: everywhere; `key_values`, if given,
    takes keys and values of every layer.
    """

    def __init__(
        self,
        row: PackedRow,
        device: torch.device,
        kernel: str = "auto",
        head_positions: torch.Tensor | None = None,
        key_values: KeyValues | None = None,
    ) -> None:
        self.row, self.device, self.head_positions, self.key_values = row, device, head_positions, key_values
        self.kernel = choose_kernel(len(row.ids), device) if kernel == "auto" else kernel
        self._masks: dict[Any, Any] = {}

    @cached_property
    def groups(self) -> list[Group]:
        """The chunks, longest first; a group holds lengths within a factor of two, so little of it is padding."""
        order = sorted(self.row.chunks, key=lambda c: (c.start - c.stop, c.start))
        groups: list[list[Chunk]] = []
        for chunk in order:
            if groups and 2 * (chunk.stop - chunk.start) >= groups[-1][0].stop - groups[-1][0].start:
                groups[-1].append(chunk)
            else:
                groups.append([chunk])
        return [_group(group, self.device) for group in groups]

    @cached_property
    def inverse(self) -> torch.Tensor:
        """(tokens,): index of each packed token in the groups' queries, one group behind the other."""
        places = torch.empty(len(self.row.ids), dtype=torch.long, device=self.device)
        offset = 0
        for group in self.groups:
            places[group.positions] = offset + group.places
            offset += group.queries.numel()
        return places

    def bias(self, group: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """(chunks, T, C + L): 0 where a query attends to a key, the dtype's minimum elsewhere."""

        def build() -> torch.Tensor:
            distance = self.groups[group].distance
            visible = distance >= 0 if window is None else (distance >= 0) & (distance < window)
            mask = torch.zeros(visible.shape, dtype=dtype, device=self.device)
            return mask.masked_fill(~visible, torch.finfo(dtype).min)

        return self._cached(("bias", group, window, dtype), build)

    def dense_mask(self, window: int | None) -> torch.Tensor:
        """(1, 1, tokens, tokens) bool: whether the token of the third axis attends to that of the fourth."""

        def build() -> torch.Tensor:
            mask = torch.from_numpy(self.row.ancestor_mask()).to(self.device)
            depth = torch.from_numpy(self.row.depth).to(self.device)
            if window is not None:
                mask &= depth[:, None] - depth[None, :] < window
            return mask[None, None]

        return self._cached(("dense", window), build)

    def block_mask(self, window: int | None) -> Any:
        """The same mask as a FlexAttention block mask."""

        def build() -> Any:
            from torch.nn.attention.flex_attention import create_block_mask

            end, depth = (torch.from_numpy(a).to(self.device) for a in (self.row.end, self.row.depth))

            def visible(_b: Any, _h: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
                below = (key <= query) & (query < end[key])
                return below if window is None else below & (depth[query] - depth[key] < window)

            tokens = len(end)
            return create_block_mask(visible, None, None, tokens, tokens, device=str(self.device))

        return self._cached(("block", window), build)

    def _cached(self, key: Any, build: Callable[[], Any]) -> Any:
        if key not in self._masks:
            self._masks[key] = build()
        return self._masks[key]


def choose_kernel(tokens: int, device: torch.device) -> str:
    """The kernel for a packed row of so many tokens."""
    if device.type == "cuda":
        return "dense" if tokens <= DENSE_TOKENS else "flex"
    return "chunks"


def kernel_reason(device: torch.device) -> str:
    """Why `choose_kernel` chooses as it does on this device, in words."""
    if device.type == "cuda":
        return f"dense mask up to {DENSE_TOKENS} packed tokens, FlexAttention above"
    return "chunks, since a fused kernel with a mask is slow on this device"


def register() -> None:
    """Make `retune_tree` known to transformers."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, tree_attention_forward)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)


def tree_attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    tree: Tree | None = None,
    prefix: Prefix | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' attention interface: query (1, heads, tokens, d), key and value (1, key-value heads, tokens, d).

    Gives (1, tokens, heads, d). Raises `UnreadKeyword` for a keyword that may change values, such as the cap that Gemma
    2 puts on its scores: its model has to run without trees. Dropout on attention weights is not for trees (it would be
    drawn once for all sequences); their models are trained without it.
    """
    if prefix is not None or tree is not None:
        _refuse_unread(more)
    if prefix is not None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return attend_with_prefix(query, key, value, attention_mask, scale, *prefix.layers[module.layer_idx]), None
    if tree is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return plain
    if tree.key_values is not None:
        tree.key_values[module.layer_idx] = key[0], value[0]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if tree.kernel == "chunks":
        return chunk_attention(query[0], key[0], value[0], scale, tree, sliding_window)[None], None
    if tree.kernel == "dense":
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=tree.dense_mask(sliding_window), scale=scale, enable_gqa=True
        )
    else:
        out = _flex(query.device.type)(
            query, key, value, block_mask=tree.block_mask(sliding_window), scale=scale, enable_gqa=True
        )
    return out.transpose(1, 2), None


def _refuse_unread(more: dict[str, Any]) -> None:
    unread = sorted(name for name, value in more.items() if value is not None and name not in READ_ELSEWHERE)
    if unread or more.get("is_causal") is False:
        raise UnreadKeyword(f"its attention takes `{(unread or ['is_causal'])[0]}`, which shared prefixes do not know")


def _group(chunks: list[Chunk], device: torch.device) -> Group:
    """The padded batch of some chunks."""
    shared = min(len(chunk.path) - (chunk.stop - chunk.start) for chunk in chunks)  # tokens of the shared history
    paths = np.stack([chunk.path[:shared] for chunk in chunks])  # (chunks, shared)
    differ = np.flatnonzero((paths != paths[:1]).any(axis=0))
    shared = int(differ[0]) if len(differ) else shared
    longest = max(chunk.stop - chunk.start for chunk in chunks)
    deepest = max(len(chunk.path) for chunk in chunks)
    queries, keys = np.zeros((len(chunks), longest), np.int64), np.zeros((len(chunks), deepest), np.int64)
    query_depth, key_depth = np.full(queries.shape, shared), np.full(keys.shape, np.iinfo(np.int64).max // 2)
    places, positions = [], []
    for i, chunk in enumerate(chunks):
        new, length = chunk.stop - chunk.start, len(chunk.path)
        queries[i, :new] = range(chunk.start, chunk.stop)
        query_depth[i, :new] = range(length - new, length)
        keys[i, :length], key_depth[i, :length] = chunk.path, range(length)
        places.append(i * longest + np.arange(new))
        positions.append(np.arange(chunk.start, chunk.stop))
    distance = query_depth[:, :, None] - key_depth[:, None, :]
    arrays = queries, paths[0, :shared], keys[:, shared:], distance, np.concatenate(places), np.concatenate(positions)
    return Group(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))


@lru_cache
def _flex(device: str) -> Any:
    """FlexAttention: compiled on CUDA; elsewhere torch's own unfused form, which is for tests."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if device == "cuda" else flex_attention
