"""The normalization map of a SentencePiece tokenizer, packed as `tokenizers.normalizers.Precompiled` reads it.

SentencePiece keeps the map as a Darts double-array trie over UTF-8 bytes whose leaves point into a blob of replacement
strings (github.com/s-yata/darts-clone, sentencepiece/src/normalizer.cc). A trie costs one walk per text, where
thousands of `Replace` steps would cost thousands of scans.
"""

from __future__ import annotations

import struct

LEAF = 1 << 31
HAS_LEAF = 1 << 8


def pack(mapping: dict[int, tuple[int, ...]]) -> bytes:
    """Pack a map code point -> code points as a precompiled one: u32 trie size, trie, replacements."""
    blob = bytearray()
    starts: dict[tuple[int, ...], int] = {}
    values: dict[bytes, int] = {}
    for point, replacement in sorted(mapping.items()):
        if replacement not in starts:
            starts[replacement] = len(blob)
            blob += "".join(map(chr, replacement)).encode() + b"\0"
        values[chr(point).encode()] = starts[replacement]
    units = _double_array(values)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + bytes(blob)


def _double_array(values: dict[bytes, int]) -> list[int]:
    """Lay out a trie as Darts units: a node's children stand at `base ^ byte`, its value at `base`."""
    children: dict[bytes, list[int]] = {b"": []}
    for key in values:
        for end in range(1, len(key) + 1):
            prefix = key[:end]
            if prefix not in children:
                children[prefix] = []
                children[prefix[:-1]].append(prefix[-1])
    units = [0] * 256
    used, bases = {0}, set()
    queue: list[tuple[bytes, int]] = [(b"", 0)]
    first = 1
    for prefix, position in queue:
        labels = children[prefix] + ([0] if prefix in values else [])
        base = first
        while base in bases or any(base ^ label in used for label in labels):
            base += 1
        while first in used or first in bases:
            first += 1
        bases.add(base)
        units += [0] * (max(base | 255, 255) + 1 - len(units))
        offset = position ^ base
        if offset >= 1 << 21:
            raise ValueError(
                f"a normalization map of {len(values)} entries does not fit a double array of 21-bit offsets"
            )
        label = prefix[-1] if prefix else 0
        units[position] = offset << 10 | label | (HAS_LEAF if prefix in values else 0)
        for child in labels:
            used.add(base ^ child)
            if child == 0:
                units[base] = LEAF | values[prefix]
            else:
                queue.append((prefix + bytes([child]), base ^ child))
    return units
