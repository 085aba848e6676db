"""Turn an E5S1 file (a BERT encoder in 4-bit blocks with its Unigram tokenizer) into a plain Hugging Face folder.

The layout, little-endian: `E5S1`, u32 version, 7 x i32 sizes, f32 layer-norm epsilon, i32 block; the tokenizer (pieces,
scores, normalization map); a directory of tensors; the tensors. Q4_0 blocks are those of ggml: 32 weights share one
float16 scale.
"""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retune.errors import RetuneError
from retune.sources.checkpoints import charsmap

BLOCK = 32
MARK = r"(?<=[^\x{00}-\x{7F}])(?=[\p{M}\x{200C}\x{200D}])"
"""The place between a character and a mark on it.

`Precompiled` looks up both as one and would drop the mark; a control character, which the map removes again, parts them
first, so that every code point is mapped by itself, as in the file.
"""
SPECIAL = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}
MODEL = {"emb.word": "embeddings.word_embeddings", "emb.pos": "embeddings.position_embeddings"}
MODEL |= {"emb.type": "embeddings.token_type_embeddings", "emb.ln": "embeddings.LayerNorm"}
LAYER = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
LAYER |= {"ao": "attention.output.dense", "aln": "attention.output.LayerNorm"}
LAYER |= {"fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class Reader:
    """A cursor over little-endian bytes."""

    data: mmap.mmap | bytes
    position: list[int]

    def take(self, format: str) -> tuple[Any, ...]:
        """Read one `struct` format."""
        values = struct.unpack_from("<" + format, self.data, self.position[0])
        self.position[0] += struct.calcsize("<" + format)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        """Read `count` numbers of a numpy dtype."""
        values = np.frombuffer(self.data, dtype, count, self.position[0]).copy()
        self.position[0] += values.nbytes
        return values

    def text(self, length: int) -> str:
        """Read `length` bytes of UTF-8."""
        return self.bytes(length).decode()

    def bytes(self, length: int) -> bytes:
        """Read `length` bytes."""
        start = self.position[0]
        self.position[0] += length
        return self.data[start : start + length]


@dataclass(frozen=True)
class E5:
    """The content of an E5S1 file; `tensors` are float32 under the names of `BertModel`."""

    config: dict[str, Any]
    special: dict[str, int]
    pieces: list[tuple[str, float]]
    normalization: dict[int, tuple[int, ...]]
    tensors: dict[str, np.ndarray]


def convert(file: Path, folder: Path) -> None:
    """Write config, model.safetensors (float32) and the fast tokenizer into `folder`; the same bytes each time."""
    from safetensors.numpy import save_file

    model = read(file)
    save_file(model.tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", model.config)
    tokenizer(model).save(str(folder / "tokenizer.json"), pretty=False)
    names = {f"{role}_token": name for role, name in SPECIAL.items()}
    names |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    limits = {"model_max_length": model.config["max_position_embeddings"]}
    inputs = {"model_input_names": ["input_ids", "attention_mask"], "tokenizer_class": "PreTrainedTokenizerFast"}
    _write(folder / "tokenizer_config.json", limits | inputs | names)


def read(file: Path) -> E5:
    """Parse an E5S1 file; raises `RetuneError` where it is not one, or is cut short."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _parse(Reader(data, [0]))
        except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
            raise RetuneError(f"{file} is not a whole E5S1 checkpoint ({error}); fetch it again") from error


def _parse(reader: Reader) -> E5:
    magic, version = reader.take("4sI")
    if (magic, version) != (b"E5S1", 1):
        raise ValueError(f"it starts with {magic!r} version {version}, not b'E5S1' version 1")
    hidden, layers, heads, inner, vocabulary, positions, types = reader.take("7i")
    epsilon, block = reader.take("fi")
    if block != BLOCK:
        raise ValueError(f"blocks of {block} weights, not {BLOCK}")
    count, *ids = reader.take("5i")
    special = dict(zip(("bos", "eos", "pad", "unk"), ids, strict=True))
    (length,) = reader.take("Q")
    ends = reader.array("<u4", count + 1)
    scores = reader.array("<f4", count)
    blob = reader.bytes(length)
    pieces = [(blob[ends[i] : ends[i + 1]].decode(), float(scores[i])) for i in range(count)]
    entries, _ = reader.take("iI")
    normalization = {}
    for _ in range(entries):
        point, n = reader.take("IB")
        normalization[point] = reader.take(f"{n}I")
    shapes = {"emb.word": (vocabulary, hidden), "emb.pos": (positions, hidden), "emb.type": (types, hidden)}
    shapes |= {"fi.w": (inner, hidden), "fo.w": (hidden, inner)}
    tensors = {}
    for _ in range(reader.take("i")[0]):
        name = reader.text(*reader.take("H"))
        kind, elements, offset, size = reader.take("BIQQ")
        values = _tensor(Reader(reader.data, [offset]), kind, elements, size)
        short = name.partition(".")[2] if name.startswith("l") else name
        if short in shapes:
            values = values.reshape(shapes[short])
        elif short in {"q.w", "k.w", "v.w", "ao.w"}:
            values = values.reshape(hidden, hidden)
        tensors[bert_name(name)] = values
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": float(f"{epsilon:.6g}"),
        "hidden_act": "gelu",
        "pad_token_id": special["pad"],
        "bos_token_id": special["bos"],
        "eos_token_id": special["eos"],
        "dtype": "float32",
    }
    return E5(config, special, pieces, normalization, tensors)


def bert_name(name: str) -> str:
    """Translate a name to `BertModel`'s: `l3.ao.w` -> `encoder.layer.3.attention.output.dense.weight`."""
    if name in MODEL:
        return f"{MODEL[name]}.weight"
    stem, _, end = name.rpartition(".")
    end = {"w": "weight", "b": "bias"}[end]
    if stem in MODEL:
        return f"{MODEL[stem]}.{end}"
    layer, _, part = stem.partition(".")
    return f"encoder.layer.{int(layer.removeprefix('l'))}.{LAYER[part]}.{end}"


def _tensor(reader: Reader, kind: int, elements: int, size: int) -> np.ndarray:
    if kind == 0:
        return reader.array("<f4", elements)
    if kind != 1:
        raise ValueError(f"tensor type {kind} is neither 0 (float32) nor 1 (Q4_0)")
    return q4_0(reader.array("u1", size))[:elements]


def q4_0(data: np.ndarray) -> np.ndarray:
    """Decode Q4_0 blocks (bytes) into float32.

    Weights j and j + 16 of a block are the low and the high nibble of byte j, less 8, times the scale.
    """
    blocks = data.reshape(-1, 2 + BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return ((nibbles.astype(np.float32) - 8) * scale).reshape(-1)


def tokenizer(model: E5) -> Any:
    """Build the tokenizer: stored map, single spaces, Unigram, `<s> A </s>` and `<s> A </s></s> B </s>`."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = model.special
    result = Tokenizer(models.Unigram(model.pieces, unk_id=special["unk"], byte_fallback=False))
    result.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(MARK), "\x01"),
            normalizers.Precompiled(charsmap.pack(model.normalization | {1: ()})),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    result.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    result.decoder = decoders.Metaspace()
    result.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", special["bos"]), ("</s>", special["eos"])],
    )
    result.add_special_tokens(list(SPECIAL.values()))
    result.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return result


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
