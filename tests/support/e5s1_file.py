"""Write a tiny E5S1 file, by the layout's description and not by the reader's code."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "花", "呗", "还", "▁a", "a", "b", "ab", "fi", "<mask>"]
SCORES = [0.0, 0.0, 0.0, 0.0, -2.0, -3.0, -3.0, -3.5, -2.5, -3.0, -3.0, -4.0, -4.0, 0.0]
MAP = {0x01: "", 0x09: " ", 0xFF41: "a", 0xFB01: "fi", 0x3000: " ", 0x200D: " ", 0xB4: " \u0301"}
HIDDEN, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS, TYPES = 32, 2, 2, 64, 16, 24, 2


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the layout."""
    found: dict[str, tuple[int, ...]] = {"emb.word": (VOCABULARY, HIDDEN), "emb.pos": (POSITIONS, HIDDEN)}
    found |= {"emb.type": (TYPES, HIDDEN), "emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for layer in range(LAYERS):
        for name in ("q", "k", "v", "ao"):
            found |= {f"l{layer}.{name}.w": (HIDDEN, HIDDEN), f"l{layer}.{name}.b": (HIDDEN,)}
        found |= {f"l{layer}.fi.w": (INNER, HIDDEN), f"l{layer}.fi.b": (INNER,)}
        found |= {f"l{layer}.fo.w": (HIDDEN, INNER), f"l{layer}.fo.b": (HIDDEN,)}
        for name in ("aln", "oln"):
            found |= {f"l{layer}.{name}.w": (HIDDEN,), f"l{layer}.{name}.b": (HIDDEN,)}
    return found


def write(path: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Write the file; the tensors that a reader must find, decoded number by number."""
    random = np.random.default_rng(seed)
    tensors, entries, blobs = {}, [], []
    for name, shape in shapes().items():
        packed = name == "emb.word" or (name.endswith(".w") and len(shape) == 2)
        count = int(np.prod(shape))
        if packed:
            blocks = [(random.uniform(0.01, 0.2), random.integers(0, 256, 16).tolist()) for _ in range(count // 32)]
            data = b"".join(struct.pack("<e16B", scale, *nibbles) for scale, nibbles in blocks)
            numbers = [
                number for block in struct.iter_unpack("<e16B", data) for number in _decoded(block[0], block[1:])
            ]
        else:
            numbers = random.normal(1 if name.endswith("ln.w") else 0, 0.1, count).astype(np.float32).tolist()
            data = struct.pack(f"<{count}f", *numbers)
        tensors[name] = np.array(numbers, dtype=np.float32).reshape(shape)
        entries.append((name.encode(), int(packed), count, len(data)))
        blobs.append(data)
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS, TYPES, 1e-12, 32)
    pieces = [piece.encode() for piece in PIECES]
    ends = [sum(map(len, pieces[:number])) for number in range(len(pieces) + 1)]
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, ends[-1])
    head += struct.pack(f"<{len(ends)}I", *ends) + struct.pack(f"<{len(SCORES)}f", *SCORES) + b"".join(pieces)
    mapped = b"".join(
        struct.pack(f"<IB{len(text)}I", point, len(text), *map(ord, text)) for point, text in sorted(MAP.items())
    )
    head += struct.pack("<iI", len(MAP), len(mapped)) + mapped + struct.pack("<i", len(entries))
    offset = len(head) + sum(2 + len(name) + 21 for name, *_ in entries)
    for name, kind, count, size in entries:
        head += struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", kind, count, offset, size)
        offset += size
    path.write_bytes(head + b"".join(blobs))
    return tensors


def _decoded(scale: float, nibbles: tuple[int, ...]) -> list[float]:
    return [((byte & 15) - 8) * scale for byte in nibbles] + [((byte >> 4) - 8) * scale for byte in nibbles]
