"""A key of params.yaml reaches the stages that read it and in which it has an effect, and no other."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from retune.errors import RetuneError
from retune.pipeline import declarations, effective
from retune.pipeline.fingerprint import STAGES, Code, roots
from retune.pipeline.reads import dumps, parts
from retune.pipeline.resolve import compiled, resolve
from retune.pipeline.schema.params import Teacher
from retune.pipeline.validation import fields
from tests.support import ROOT
from tests.support.declarations import replace, write

CODE = Code(ROOT)

UNTUNED = ("similarity_untuned", "intent_untuned", "retrieval_untuned", "alignment_untuned", "risk_untuned")
LINEAR = ("similarity_linear", "intent_linear", "alignment_linear", "risk_linear")
TUNED_LLMS = ("similarity_llm", "alignment_llm")
TUNED = ("similarity_embedder", "intent_encoder", "retrieval_embedder", "retrieval_reranker", *TUNED_LLMS)
LLMS = (*TUNED_LLMS, "intent_untuned", "alignment_untuned", "risk_untuned")


@functools.cache
def declared() -> declarations.Project:
    return declarations.load(ROOT)


def project(**defaults: dict[str, Any]) -> declarations.Project:
    """This repository's declarations with other values in default sections."""
    found = copy.copy(declared())
    found.documents = {name: dataclasses.replace(document, problems=[]) for name, document in found.documents.items()}
    found.defaults = dict(found.defaults)
    for section, values in defaults.items():
        old = found.defaults[section]
        found.defaults[section] = type(old).model_validate(old.model_dump(by_alias=True) | values)
    return found


def flat(resolved: dict[str, Any]) -> dict[str, str]:
    found = parts(resolved)
    return {f"{stage}@{key}": dumps(value) for stage in STAGES for key, value in found[stage].items()} | {
        "report": dumps(found["report"])
    }


def reached(before: dict[str, str], after: declarations.Project) -> set[str]:
    """The stages that a change makes stale by what they read, but for the report, which shows all parameters."""
    new = flat(compiled(after)[0])
    assert before.keys() == {name for name in new if not name.startswith("warm@")}
    return {name for name in before if before[name] != new[name]} - {"report"}


@functools.cache
def as_declared() -> dict[str, str]:
    return flat(compiled(project())[0])


@pytest.mark.parametrize(
    ("section", "key", "value", "wanted"),
    [
        ("augmentation", "strength", 0.2, ()),
        ("augmentation", "seed", 1, ()),
        ("calibration", "cost_false_positive", 2.0, ()),
        ("evaluation", "generate_rows", 10,
         [f"predict@{name}" for name in ("similarity_llm", "intent_untuned", "alignment_untuned")]),
        ("training", "learning_rate", 1e-4, ()),
        ("training", "weight_decay", 0.1, [f"train@{name}" for name in TUNED]),
        ("training", "patience", 5, [f"train@{name}" for name in TUNED]),
        ("training", "keep_checkpoints", "all", [f"train@{name}" for name in TUNED]),
        ("training", "head", "probe", ()),
        ("training", "packed_tokens", 1000, [f"train@{name}" for name in TUNED]),
        ("training", "keep_together", True, [f"train@{name}" for name in TUNED_LLMS]),
        ("training", "answer_weight", 2.0, ["train@alignment_llm"]),
        ("training", "freeze_embeddings", False, [f"train@{name}" for name in TUNED if name not in TUNED_LLMS]),
        ("training", "truncation", "end", [f"train@{name}" for name in (*LLMS, "intent_encoder")]),
        ("generation", "temperature", 0.7, ["predict@alignment_llm"]),
        ("generation", "max_new_tokens", 100, ()),
        ("generation", "samples", 3, ["predict@alignment_llm"]),
        ("generation", "top_p", 0.9, ()),
        ("loss", "name", "focal", [f"train@{name}" for name in ("intent_encoder", "similarity_embedder")]),
        ("loss", "gamma", 3.0, ()),
        ("loss", "pgd_steps", 5, ()),
        ("loss", "class_weights", "balanced",
         [f"train@{name}" for name in ("intent_encoder", "similarity_embedder", "similarity_untuned")]),
        ("ranking_loss", "reranker", "listnet", ["train@retrieval_reranker"]),
        ("ranking_loss", "hard", 0.5, ["train@retrieval_embedder"]),
        ("ranking_loss", "margin", 0.2, ()),
        ("lora", "r", 64, [f"train@{name}" for name in TUNED_LLMS]),
        ("quantization", "double", False, ()),
        ("quantization", "bits", 8, [*(f"train@{name}" for name in LLMS), "export@similarity_llm"]),
        ("linear", "c", 2.0, [f"train@{name}" for name in LINEAR]),
        ("linear", "class_weights", "balanced", [f"train@{name}" for name in LINEAR if name != "risk_linear"]),
        ("hardware", "sharding", "optimizer", ()),
        ("hardware", "sharding", "offload", [f"{stage}@{name}" for name in LLMS for stage in ("train", "predict")]),
        ("evaluation", "errors", 3, [f"evaluate@{name}" for name in declared().models]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_key_reaches_the_stages_in_which_it_has_an_effect(section, key, value, wanted):
    assert reached(as_declared(), project(**{section: {key: value}})) == set(wanted)


def others(schema: Any, key: str, value: Any) -> list[Any]:
    """Valid values of a field that are not `value`."""
    info = fields(schema)[key]
    adapter: TypeAdapter[Any] = TypeAdapter(info.annotation)
    tried = [True, False, 0.25, 1, 2, 3, 64, 256, 0.5, ["query"], [1, 2], [2, 3], [32], {"0": 0.5}, "none", "all",
             "focal", "fgm", "listnet", "balanced", "end", "probe", "cosine", "constant", "dora", "cost", "median",
             "cpu", "float32", "eager", "optimizer", "oversample", "loss"]  # fmt: skip
    found = []
    for one in tried:
        if one == value and type(one) is type(value):
            continue
        try:
            adapter.validate_python(one, strict=not isinstance(one, int) or isinstance(one, bool))
            schema.model_validate(schema().model_dump(by_alias=True) | {key: one})
        except ValidationError:
            continue
        found.append(one)
    return found


@functools.cache
def names(module: str) -> set[str]:
    """Every attribute, keyword and text of a module."""
    tree = ast.parse(CODE.files[module].read_bytes())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(node.value.split())
    return found


SETTINGS: list[dict[str, dict[str, Any]]] = [
    {},
    {"loss": {"name": "focal", "adversarial": "pgd"}, "ranking_loss": {"hard": 0.5, "reranker": "listnet"}},
    {"quantization": {"bits": 4}, "calibration": {"threshold": "cost"}},
    {"augmentation": {"synonym": 0.1}, "generation": {"samples": 2, "sample_rows": 5, "temperature": 0.5}},
]
"""Values beside which others have an effect that else have none."""


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "-".join(setting) or "defaults")
def test_no_key_reaches_a_stage_whose_code_does_not_name_it(setting):
    resolved = compiled(project(**setting))[0]
    before, entries = flat(resolved), {stage: resolved[section] for stage, section in STAGES.items()}
    walked = 0
    for section, default in declared().defaults.items():
        for key in fields(type(default)):
            for value in others(type(default), key, getattr(default, key, None))[:1]:
                values = copy.deepcopy(setting)
                values.setdefault(section, {})[key] = value
                try:
                    stale = reached(before, project(**values))
                except (RetuneError, ValidationError):
                    continue  # refused beside the other values
                walked += 1
                for name in stale:
                    stage, _, instance = name.partition("@")
                    closure = CODE.closure(roots(stage, entries[stage][instance]))
                    assert any(key in names(module) for module in closure), f"{section}.{key} reaches {name}"
    assert walked > 70


def test_every_default_section_says_what_the_schema_says():
    params = declared().raw("params.yaml")
    for section, schema in declarations.default_sections().items():
        default = schema().model_dump(by_alias=True)
        assert {key: default[key] for key in params.get(section, {})} == params.get(section, {}), section


@pytest.mark.parametrize(
    ("model", "section", "key", "value", "readers"),
    [
        ("untuned", "training", "keep_together", True, "llm"),
        ("untuned", "training", "truncation", "middle", "encoder (labels), llm"),
        ("chatty", "training", "head", "probe", "encoder (labels)"),
        ("chatty", "training", "freeze_embeddings", True, "encoder, embedder"),
    ],
)
def test_a_key_that_the_learner_does_not_read_is_refused_with_the_learners_that_do(
    tmp_path, model, section, key, value, readers
):
    write(tmp_path)
    old = {"untuned": "training: {epochs: 0}", "chatty": "training: {epochs: 2}"}[model]
    replace(tmp_path, "params.yaml", old, old[:-1] + f", {key}: {str(value).lower()}}}")
    with pytest.raises(RetuneError) as error:
        resolve(tmp_path)
    assert f"models.{model}.{section}.{key}: the learner " in str(error.value)
    assert f"does not read this key, which is for: {readers}; take it out" in str(error.value)


def test_a_key_without_effect_beside_others_is_warned_of(tmp_path):
    write(tmp_path, ("params.yaml", "training: {epochs: 0}", "training: {epochs: 0, patience: 5}"))
    assert any("models.untuned.training.patience has no effect" in line for line in resolve(tmp_path).warnings)


def test_every_key_of_the_table_is_a_key_of_the_schemas():
    known = {
        f"{section}.{key}" for section, schema in declarations.default_sections().items() for key in fields(schema)
    }
    known |= {f"teacher.{key}" for key in fields(Teacher)}
    assert set(effective.KEYS) <= known


def test_the_list_of_keys_tells_value_line_and_readers():
    from retune.pipeline.keys import all_keys

    keys = {key.path: key for key in all_keys(declared().params)}
    rank = keys["lora.r"]
    line = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[int(rank.here.rpartition(":")[2][:-1]) - 1]
    assert (rank.here.partition(" ")[0], line.strip()) == ("16", "r: 16")
    assert keys["training.head"].meaning.endswith("[encoder (labels)]")
    assert not keys["api.retries"].here, "it stands nowhere, so it is the default"
