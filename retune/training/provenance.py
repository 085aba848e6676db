"""What a model was made of and where, beside its parameters (spec.json): `provenance.json` in its folder.

It is part of the model, so it holds only what the model's bytes depend on: no time, no commit, no name of a machine.
The same data, parameters, packages and kind of machine give the same file anywhere. Torch is not imported here: what
it chose is in the record of the training, and in the predictor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from retune.params import Params

FILE = "provenance.json"

TABLES = ("dataframely", "polars", "polars-runtime-32")
LINEAR = (*TABLES, "numpy", "safetensors", "scikit-learn", "scipy")
NEURAL = (*TABLES, "accelerate", "numpy", "safetensors", "tokenizers", "torch", "transformers")
LLM = (*NEURAL, "jinja2", "peft")

PACKAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tfidf_logistic": (LINEAR, ("threadpoolctl",)),
    "tfidf_ridge": (LINEAR, ("threadpoolctl",)),
    "bm25": ((*TABLES, "numpy"), ()),
    "classifier": (NEURAL, ("scikit-learn", "scipy")),
    "reranker": (NEURAL, ("peft",)),
    "pair_embedder": (NEURAL, ()),
    "retriever": (NEURAL, ("peft",)),
    "llm": (LLM, ()),
    "llm_reranker": (LLM, ()),
    "api": ((*TABLES, "numpy"), ()),
}
"""Package of a learner (retune.learners.MODULES) -> distributions that compute in its fit and in its predictions, and
those of the fit alone: what the fingerprint of the stages counts (a test holds them equal)."""

MACHINE = ("device", "gpu", "instructions", "dtype", "attention", "threads", "processes")
"""What of a training's record says where it ran; `instructions` and `threads` where a processor computed."""

CHANGES_ANSWERS = ("device", "dtype")
"""What of the machine changes predictions by more than the last digits."""


def of(learner: str, spec: Params, data: Mapping[str, str], took: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a model that the package `learner` has just fitted.

    `data`: path -> hash as dvc.lock has it, of the files that were read; `took`: what the record of the training says
    of the machine.
    """
    on_processor = took.get("device") == "cpu"
    return {
        "data": dict(data),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "packages": installed(_named(learner, spec, took.get("attention"))),
        "machine": {name: took[name] for name in MACHINE if name in took and (name != "threads" or on_processor)},
    }


def write(folder: Path, found: dict[str, Any]) -> None:
    """Put it beside the model's weights."""
    (folder / FILE).write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The provenance of a model's folder; empty for one that an older version built."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def installed(names: Iterable[str]) -> dict[str, str]:
    """Distribution -> version, of those that are installed here."""
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def warning(folder: Path, learner: str, predictor: Any) -> str | None:
    """One line that says where a model was made otherwise than it is used now, in what can change its answers.

    Of what changes only the last digits (threads, the model of a processor or a GPU) it says nothing.
    """
    built = read(folder)
    fitted_by = PACKAGES.get(learner, ((), ()))[1]
    before = {name: said for name, said in built.get("packages", {}).items() if name not in fitted_by}
    found = list(differing(before, installed(before)))
    if chosen := getattr(predictor, "chosen", None):
        before = {name: said for name, said in built.get("machine", {}).items() if name in CHANGES_ANSWERS}
        found += differing(before, chosen.machine)
    if not found:
        return None
    return f"{folder.name} was built otherwise than it is used here, so its answers may differ: {', '.join(found)}"


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """In words, what of `before` is otherwise now."""
    for name, said in before.items():
        if now.get(name) != said:
            yield f"{name} {_shown(said)} (here {_shown(now.get(name))})"


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _named(learner: str, spec: Params, attention: str | None) -> tuple[str, ...]:
    both, fitted_by = PACKAGES[learner]
    quantised = spec.get("quantization", {}).get("bits", 16) < 16
    return (
        *both,
        *fitted_by,
        *(["bitsandbytes"] if quantised else []),
        *(["flash-attn"] if attention == "flash_attention_2" else []),
    )
