"""Encoders that label a text or a pair: `*ForSequenceClassification` where the architecture has it, or CrossEncoder.

A pooled vector and a linear layer is what transformers' class computes for BERT and its kin with their own pooler. The
other poolings (the mean over the tokens, the first one) it can't say, and a CrossEncoder's list of modules can. The
temperature is in the linear layer, so the softmax of the folder's own logits is the calibrated probability.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from safetensors.torch import load_file
from torch import nn

from retune.encoders import tokens, transformer
from retune.exports import weights
from retune.exports.protocol import PLAIN, Built, Exported, decided
from retune.learners.classifier.model import Classifier, encode
from retune.learners.classifier.predict import EncoderClassifier
from retune.learners.classifier.predict import load as load_built
from retune.training import hardware, positions

if TYPE_CHECKING:
    from retune.params import Params

POOLED = ("albert", "bert", "ernie", "megatron-bert")
"""`model_type` whose class for labels is pooler, dropout and one linear layer, and nothing else."""

TAG = "text-classification"

LAYERS = {
    "transformers": ("model.safetensors", "classifier."),
    "cross-encoder": ("2_Dense/model.safetensors", "linear."),
}
"""Form -> file and prefix of the linear layer's weights."""


def write(built: Built, out: Path) -> Exported:
    """Write the folder; see the head of this file."""
    own = load_built(built.folder, built.base, PLAIN)
    head, temperature = own.model.classifier, built.fitted["temperature"]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.div_(temperature)
    names = {str(code): label for code, label in enumerate(built.spec.labels)}
    config: Any = own.model.encoder.config
    config.id2label, config.label2id = names, {label: code for code, label in enumerate(built.spec.labels)}
    config.num_labels = len(names)
    more = {"reads": {"pooling": own.model.pooling}}
    fitted = built.fitted | {"temperature": 1.0, "temperature_in_weights": temperature}
    pair = len(built.columns) > 1
    if own.model.pooling == "pooler" and config.model_type in POOLED:
        _transformers(own, head, out)
        given = '{"text": "one text", "text_pair": "another"}' if pair else '"a text"'
        use = ["from transformers import pipeline", "", 'classify = pipeline("text-classification", ".")']
        use += [f"found = classify({given}, top_k=None, truncation=True)  # every label, the likeliest first"]
        if pair:
            use += [f'probability = {{one["label"]: one["score"] for one in found}}[{built.spec.labels[1]!r}]']
        use += decided(built)
        return Exported("transformers", "sequence_classifier", "transformers", TAG, use, fitted, more)
    free = weights.encoder(built.folder, own.model.pooling == "pooler")
    free.config = config
    weights.cross_encoder(free, own.tokenizer, own.model.pooling, head, own.max_length, out)
    use = ["from sentence_transformers import CrossEncoder", "", 'model = CrossEncoder(".")']
    given = '("one text", "another")' if pair else '"a text"'  # a list of texts is a pair to it, so one stands alone
    use += [f"probabilities = model.predict({given}, apply_softmax=True)"]
    last = ["label = model.config.id2label[int(probabilities.argmax())]"]
    use += ["probability = probabilities[1]", *decided(built)] if "threshold" in built.fitted else last
    return Exported("cross-encoder", "cross_encoder_classifier", "sentence-transformers", TAG, use, fitted, more)


def _transformers(own: EncoderClassifier, head: nn.Linear, out: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(own.model.encoder.config)
    model.base_model.load_state_dict(own.model.encoder.state_dict())
    model.classifier.load_state_dict(head.state_dict())
    model.save_pretrained(out)
    own.tokenizer.model_max_length = own.max_length
    own.tokenizer.save_pretrained(out)


def load(folder: Path, card: Params, hardware_options: Params) -> EncoderClassifier:
    """Read what `write` wrote."""
    chosen = hardware.choose(hardware_options)
    hardware.make_deterministic(0)
    pooling = card.reads.pooling
    model = Classifier(transformer.load(folder, chosen, pooling == "pooler"), pooling, len(card.spec.labels))
    file, prefix = LAYERS[card.form]
    layer = {name: value for name, value in load_file(folder / file).items() if name.startswith(prefix)}
    model.classifier.load_state_dict({name.removeprefix(prefix): value for name, value in layer.items()})
    model.to(chosen.device).eval()
    max_length = positions.within(folder, card.spec.training.max_length)
    return EncoderClassifier(model, tokens.tokenizer_of(folder), card.spec, max_length, chosen)


def token_ids(predictor: EncoderClassifier, rows: pl.DataFrame) -> list[list[int]]:
    """Token ids of each row as the model reads them."""
    return [one.ids for one in encode(predictor.tokenizer, rows, predictor.spec, predictor.max_length)]
