"""Train the encoder and its linear layer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file
from torch import nn

from retune.data import labels, lessons
from retune.encoders import tokens, transformer
from retune.encoders.objective import objective
from retune.encoders.tokens import Encoded
from retune.errors import RetuneError
from retune.evaluation import dev_metrics
from retune.learners.classifier import last_head, probe
from retune.learners.classifier.model import Classifier, encode, log_probs
from retune.training import hardware, job, micro_batches, positions
from retune.training.distributed import launch
from retune.training.record import Training

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

Item = tuple[Encoded, int, list[float]]

OF_LOSS = ("labels", "whole", "lessons")
"""What of a micro-batch the model does not read."""

HEAD_RATE = {"random": 10.0, "probe": 1.0}  # learning rate of the new linear layer over that of the pretrained ones


@launch.in_parallel
def fit(
    spec: Params,
    train: pl.DataFrame,
    dev: pl.DataFrame,
    base: Path,
    out: Path,
    scratch: Path,
    last: Path | None = None,
) -> Training:
    """Train the encoder and a new linear layer, or those of `last`; write the best checkpoint on dev to `out`.

    Raises `RetuneError` for `epochs: 0`: a layer that was never trained predicts nothing.
    """
    options = spec.training
    if options.epochs == 0:
        raise RetuneError(
            f"training.epochs is 0 for task {spec.task}, but the learner `encoder` has a new layer to train: use the "
            "learner `embedder` (pair) or `llm` for an untuned model, or more epochs"
        )
    chosen = hardware.choose(spec.hardware)
    hardware.make_deterministic(spec.seed)
    tokenizer = tokens.tokenizer_of(base)
    train = job.choose_rows(train, options.max_rows, spec.seed)
    dev = job.choose_rows(dev, options.dev_rows, spec.seed)
    max_length = positions.within(base, options.max_length)
    rows, dev_rows = (encode(tokenizer, frame, spec, max_length) for frame in (train, dev))
    codes, dev_codes = lessons.codes(train["label"], spec.labels), labels.codes(dev["label"], spec.labels)
    known, teacher = np.flatnonzero(codes != lessons.NONE), spec.get("teacher")
    told = lessons.table(train, len(spec.labels)).tolist() if teacher else [[]] * len(train)
    pad_id = int(tokenizer.pad_token_id)

    pooling, why = pooling_of(base)
    log.info("pooling %s: %s", pooling, why)
    model = Classifier(transformer.load(last or base, chosen, pooler=pooling == "pooler"), pooling, len(spec.labels))
    transformer.freeze(model.encoder, options)
    balanced = spec.loss.class_weights == "balanced"
    unlearned = set(spec.labels) - set(last_head.labels_of(last) if last else ())
    probed = (
        bool(unlearned)
        and options.head == "probe"
        and probe.start(
            model, ([rows[row] for row in known], codes[known]), (dev_rows, dev_codes), balanced, pad_id, chosen
        )
    )
    if last:
        last_head.restore(model.classifier, last, spec.labels)
    rate = HEAD_RATE["probe" if probed or not unlearned else "random"]
    words = model.encoder.get_input_embeddings()
    loss = objective(spec.loss, codes[known].tolist(), len(spec.labels), words, chosen.device, teacher)

    def collate(items: list[Item], batch: list[Item]) -> dict[str, torch.Tensor]:
        inputs = tokens.pad([item[0] for item in items], pad_id)
        codes, whole = (torch.tensor([item[1] for item in some]) for some in (items, batch))
        taught = {"lessons": torch.tensor([item[2] for item in items])} if teacher else {}
        return {**inputs, "labels": codes, "whole": whole, **taught}

    def shape(item: Item) -> tuple[int, int]:
        return 1, len(item[0].ids)

    def loss_of(model: nn.Module, one: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: value for name, value in one.items() if name not in OF_LOSS}
        return loss(lambda: model(**inputs), one["labels"], one["whole"], one.get("lessons"))

    def evaluate(model: Classifier) -> dict[str, float]:
        return dev_metrics.of(spec.kind, dev_codes, log_probs(model, dev_rows, pad_id, chosen))

    training = job.Job(
        model=model,
        items=list(zip(rows, codes.tolist(), told, strict=True)),
        lengths=[len(row.ids) for row in rows],
        micro_batches=micro_batches.tokens_per_micro_batch(collate, shape, options.packed_tokens),
        loss=loss_of,
        evaluate=evaluate,
        chosen=chosen,
        rate_factors={"classifier.weight": rate, "classifier.bias": rate},
    )
    record = job.run(training, spec, scratch)
    transformer.save(model.encoder, out)
    tokenizer.save_pretrained(out)
    layer = {name: weight.detach().cpu().contiguous() for name, weight in model.classifier.state_dict().items()}
    save_file(layer, out / "head.safetensors")
    (out / "encoder.json").write_text(json.dumps({"pooling": pooling}) + "\n", encoding="utf-8")
    return record.with_cut(sum(row.truncated for row in rows), len(rows), options.max_length, max_length)


def pooling_of(base: Path) -> tuple[str, str]:
    """How the tokens of a base become one vector, and why: by the catalog, else by the checkpoint's own pooler."""
    if declared := tokens.source_of(base).get("pooling"):
        return str(declared), "as models/catalog.yaml says"
    if transformer.has_pooler(base):
        return "pooler", "the base brings it, and models/catalog.yaml names none"
    return tokens.POOLING, "the base has no pooler, and models/catalog.yaml names none"
