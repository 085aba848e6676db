"""The memory that the training of a model takes: weights, gradients, optimiser, activations, and the process itself.

Activations are what autograd keeps of the largest forward pass: of each token and layer the inputs of its matrix
products, norms and activation functions, and the attention probabilities. Checked against measured peaks
(tests/doctor/test_memory.py): float32 on a processor. A GPU's figures follow from the same counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retune.doctor.shape import BYTES, Shape

GIB = 2**30

PROCESS = {"cpu": 0.9 * GIB, "cuda": 0.6 * GIB}
"""Python with torch and the Trainer on a processor; the context of a GPU."""

SLACK = {"cpu": 1.2, "cuda": 1.1}
"""What an allocator holds beyond the activations: freed blocks that nothing fits."""

LOGITS = 512 * 2**20
"""Most bytes of logits at a time (retune.llm.packing.output_head), kept about twice."""

QUANTIZED = {16: 2.0, 8: 1.05, 4: 0.57}
"""Bytes of a weight of a quantised matrix, with its scales."""


@dataclass(frozen=True)
class Pass:
    """The largest forward pass of a training: its tokens with padding, the longest input, and tokens with a target.

    `bound`: the lengths are not known, so these are the most that `max_length` and `packed_tokens` allow.
    """

    tokens: int
    longest: int
    targets: int
    bound: bool


@dataclass(frozen=True)
class Need:
    """Bytes by part."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    process: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.process


def of(spec: dict[str, Any], shape: Shape, one: Pass, device: str, dtype: str) -> Need:
    """What the training of a model (its section of the resolved file) takes on a device of this kind and dtype."""
    training, lora = spec["training"], spec.get("lora", {"method": "full"})
    causal = spec["learner"] == "llm"
    adapter = lora.get("method", "full") != "full" and training["epochs"] > 0
    number = BYTES[dtype]
    own = number if causal and (adapter or training["epochs"] == 0) else 4  # what is trained whole is float32
    bits = int(spec.get("quantization", {}).get("bits", 16))
    matrices = shape.parameters - shape.embeddings
    weights = float(shape.parameters * own)
    if bits < 16:
        weights = matrices * QUANTIZED[bits] + shape.embeddings * max(own, 2)
    if device == "cpu" and bits == 16 and BYTES.get(shape.dtype, 2) != own:
        weights += shape.file  # the mapped file, from which the weights are converted
    process = PROCESS[device]
    if training["epochs"] == 0:
        return Need(weights, 0.0, 0.0, _passing(shape, one, number, causal), process)
    layers = max(shape.layers - int(training.get("freeze_layers") or 0), 0)
    trained = _trained(spec, shape, layers, adapter)
    kept = one.tokens * layers * _of_token(shape, one, number, causal)
    if training.get("gradient_checkpointing"):
        kept = kept / max(layers, 1) + one.tokens * layers * shape.width * number
    kept = SLACK[device] * kept + (2 * min(LOGITS, one.targets * shape.vocabulary * 4) if causal else 0)
    processes = 1
    if (spec.get("hardware") or {}).get("sharding") in ("full", "optimizer"):
        processes = max(1, int(spec["hardware"].get("processes") or 1))
    optimizer = 8.0 * trained / processes
    return Need(weights, 4.0 * trained, optimizer, max(kept, _passing(shape, one, number, causal)), process)


def _trained(spec: dict[str, Any], shape: Shape, layers: int, adapter: bool) -> float:
    """Parameters with a gradient."""
    if adapter:
        rank = int(spec["lora"].get("r", 16))
        sides = 2 * (shape.width + shape.query) + 2 * (shape.width + shape.key_value)
        sides += (3 if shape.gated else 2) * (shape.width + shape.inner)
        return float(layers * rank * sides)
    matrices = (shape.parameters - shape.embeddings) * layers / max(shape.layers, 1)
    if spec["learner"] == "llm":
        return float(shape.parameters)
    frozen = spec["training"].get("freeze_embeddings", True) or layers < shape.layers
    return float(matrices + (0 if frozen else shape.embeddings))


def _of_token(shape: Shape, one: Pass, number: int, causal: bool) -> float:
    """Bytes that one layer keeps of a token for its gradient.

    A fused causal layer: inputs of both norms and of the products (4 widths), queries, keys and values twice, the
    attention's output, two activations of the feed-forward part, and probabilities over a row's history twice. A BERT
    layer: 11 widths, two inner ones, and probabilities three times (as they are, dropped, the mask).
    """
    if causal:
        attended = 4 * shape.width + 2 * (shape.query + 2 * shape.key_value) + shape.query
        return number * (attended + 2 * shape.inner + 2 * shape.heads * one.longest)
    return number * (11 * shape.width + 2 * shape.inner + 3 * shape.heads * one.longest)


def _passing(shape: Shape, one: Pass, number: int, causal: bool) -> float:
    """Bytes of a pass without gradients: the widest activations of one layer, and logits."""
    widest = one.tokens * number * (2 * shape.inner + 4 * shape.width + shape.heads * one.longest)
    return float(widest + (LOGITS if causal else 0))
