"""The memory that a training is said to need, against what was measured of it."""

import json

import polars as pl
import pytest

from retune.doctor import lengths, memory, shape
from retune.doctor.memory import Pass

ENCODER = {
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536,
    "vocab_size": 250037, "max_position_embeddings": 512, "dtype": "float32",
}  # fmt: skip
LLM = {
    "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
    "intermediate_size": 4864, "vocab_size": 151936, "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip
ADAPTER = {"lora": {"method": "lora", "r": 16}, "quantization": {"bits": 16}, "learner": "llm"}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Learner -> the shape of the default build's base."""
    found = {}
    for name, config, size in (("encoder", ENCODER, 4 * 117_653_760), ("llm", LLM, 2 * 630_167_424)):
        folder = tmp_path_factory.mktemp(name)
        (folder / "config.json").write_text(json.dumps(config))
        with (folder / "model.safetensors").open("wb") as stream:
            stream.truncate(size)
        found[name] = shape.of_folder(folder)
    return found


def test_parameters_are_counted_from_the_configuration(shapes):
    assert shapes["encoder"].parameters == pytest.approx(117.5e6, rel=0.01)
    assert shapes["llm"].parameters == pytest.approx(630.2e6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "spec", "one", "measured"),
    [
        ("similarity_untuned", {"learner": "embedder", "epochs": 0}, Pass(1280, 20, 0, False), 1.17),
        ("similarity_embedder", {"learner": "embedder"}, Pass(1280, 20, 0, False), 2.3),
        ("intent_encoder", {"learner": "encoder"}, Pass(1792, 56, 0, False), 2.54),
        ("retrieval_embedder", {"learner": "embedder"}, Pass(3456, 54, 0, False), 2.81),
        ("retrieval_reranker", {"learner": "encoder", "freeze_layers": 6}, Pass(2176, 68, 0, False), 2.3),
        ("similarity_llm", ADAPTER, Pass(434, 71, 64, False), 5.44),
        ("intent_llm", {**ADAPTER, "freeze_layers": 8}, Pass(1351, 523, 128, False), 7.2),
        ("alignment_llm", ADAPTER, Pass(1287, 693, 428, False), 10.11),
        ("risk_llm", ADAPTER, Pass(1073, 555, 314, False), 7.45),
    ],
)
def test_the_estimate_is_within_30_percent_of_the_measured_peak(name, spec, one, measured, shapes):
    """Peaks in GiB of the default build on a processor in float32, with the passes that its rows make."""
    spec = dict(spec)
    training = {"epochs": spec.pop("epochs", 1.0), "freeze_layers": spec.pop("freeze_layers", 0)}
    base = shapes["llm" if spec["learner"] == "llm" else "encoder"]
    need = memory.of({**spec, "training": training}, base, one, "cpu", "float32")
    assert need.total / memory.GIB == pytest.approx(measured, rel=0.3), name


def test_what_saves_memory_is_counted(shapes):
    one = Pass(4096, 512, 256, False)

    def total(device="cuda", dtype="bfloat16", **more):
        training = {"epochs": 1, **more.pop("training", {})}
        return memory.of({**ADAPTER, **more, "training": training}, shapes["llm"], one, device, dtype).total

    plain = total()
    assert total(training={"gradient_checkpointing": True}) < plain
    assert total(training={"freeze_layers": 12}) < plain
    assert total(quantization={"bits": 4}) < total(quantization={"bits": 8}) < plain
    assert total(lora={"method": "full"}) > plain + 7 * shapes["llm"].parameters
    assert total(dtype="float32") > plain


def test_weights_that_are_converted_on_a_processor_stand_beside_their_file(shapes):
    one = Pass(512, 128, 16, False)
    training = {"training": {"epochs": 1}}
    llm = memory.of({**ADAPTER, **training}, shapes["llm"], one, "cpu", "float32")
    assert llm.weights == 4 * shapes["llm"].parameters + shapes["llm"].file
    encoder = memory.of({"learner": "encoder", **training}, shapes["encoder"], one, "cpu", "float32")
    assert encoder.weights == 4 * shapes["encoder"].parameters  # its file is in float32 already


def test_what_is_trained_has_a_gradient_and_two_moments_in_float32(shapes):
    one = Pass(512, 128, 16, False)
    need = memory.of({**ADAPTER, "training": {"epochs": 1}}, shapes["llm"], one, "cuda", "bfloat16")
    sides = 896 + 896 + 896 + 128 + 896 + 128 + 896 + 896 + 3 * (896 + 4864)  # of q, k, v, o and three of the MLP
    assert need.gradients == 4 * 24 * 16 * sides
    assert need.optimizer == 2 * need.gradients
    full = {**ADAPTER, "lora": {"method": "full"}, "training": {"epochs": 1}}
    assert memory.of(full, shapes["llm"], one, "cuda", "bfloat16").optimizer == 8 * shapes["llm"].parameters


def test_passes_follow_the_rows_and_without_rows_the_limits(tmp_path):
    spec = {
        "learner": "encoder",
        "kind": "pair",
        "training": {"batch_size": 16, "packed_tokens": 4096, "max_length": 128},
    }
    assert lengths.of(spec, {}, tmp_path / "none", tmp_path) == Pass(2048, 128, 128, True)
    rows = pl.DataFrame({"text_a": ["一二三四五六七八九十"] * 40, "text_b": ["一二三四五六七八九十"] * 40})
    rows.write_parquet(tmp_path / "train.parquet")
    one = lengths.of(spec, {}, tmp_path / "train.parquet", tmp_path)
    assert (one.bound, one.longest, one.tokens) == (False, 18, 16 * 18)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("qwen3-8b", 8e9),
        ("Qwen2.5-0.5B-Instruct", 0.5e9),
        ("gemma-270m", 270e6),
        ("macbert-base", 109e6),
        ("bert", None),
    ],
)
def test_a_base_that_is_not_here_is_sized_by_its_name(name, parameters):
    found = shape.of_name(name)
    assert (found is None) == (parameters is None)
    if found and parameters:
        assert found.parameters == pytest.approx(parameters, rel=0.08)
