"""Generation with the common beginning computed once gives what transformers gives for each prompt alone."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from retune.llm import generation
from retune.llm.packing import packing
from retune.llm.recorded_logits import LogitsRecorder
from retune.llm.sampling import Sampling
from retune.training.hardware import Chosen
from tests.support import tiny_llm

END = 2
CPU = Chosen(torch.device("cpu"), torch.float64, "eager", 1)


def prompts(head: int, rows: int = 7) -> list[list[int]]:
    random = np.random.default_rng(5)
    shared = random.integers(3, 512, head).tolist()
    return [shared + random.integers(3, 512, random.integers(1, 9)).tolist() for _ in range(rows)]


def alone(model: torch.nn.Module, rows: list[list[int]], new: int) -> list[list[int]]:
    """Greedy by hand: the whole sequence through the model for every token."""
    answers = []
    for row in rows:
        ids = list(row)
        while len(ids) < len(row) + new:
            token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token == END:
                break
            ids.append(token)
        answers.append(ids[len(row) :])
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("head", [0, 6, 22])
@pytest.mark.parametrize("family", tiny_llm.FAMILIES)
def test_answers_equal_those_of_each_prompt_alone(family: str, head: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "INFERENCE_TOKENS", 60)  # a batch is read as several packed rows
    model = tiny_llm.model(family).double()
    rows = [*prompts(head), *([prompts(head)[0][: head + 1]] * 2)]  # the last ones have a single token of their own
    expected = alone(model, rows, 6)
    assert len(set(map(tuple, expected))) > 1
    packing.prepare(model, CPU, rows)  # as in use: the attention is the tree's
    assert generation.generate(model, rows, END, 6, batch_size=9) == expected
    assert generation.generate(model, rows, END, 6, batch_size=3) == expected


OTHERS = {
    "phi3": {"sliding_window": 8},
    "starcoder2": {"sliding_window": 8},
    "mistral": {"sliding_window": 8},
    "gemma2": {"final_logit_softcapping": 0.5, "sliding_window": 8},
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.25},
}
"""Models whose windows or logits are told by their configs in other words."""


@pytest.mark.parametrize("name", OTHERS)
def test_answers_beyond_a_window_and_of_scaled_logits_equal_those_of_each_prompt_alone(name: str) -> None:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 512, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END,
    }  # fmt: skip
    config = AutoConfig.for_model(name, **sizes, **OTHERS[name])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # so that what a token sees decides what is written
    rows = prompts(22)
    with torch.no_grad():
        expected = alone(model, rows, 6)
    assert len(set(map(tuple, expected))) > 1
    packing.prepare(model, CPU, rows)
    assert generation.generate(model, rows, END, 6) == expected


ANGLES = {
    "longrope": ("phi3", {"short_factor": [1.0] * 8, "long_factor": [9.0, 7.0, 5.0, 4.0, 3.0, 2.0, 2.0, 2.0]}),
    "dynamic": ("llama", {"factor": 4.0}),
}


@pytest.mark.parametrize("limit", [10, 26, 29, 31])
@pytest.mark.parametrize("kind", ANGLES)
def test_answers_across_the_length_at_which_rotary_positions_change_are_those_without_a_cache(
    kind: str, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    name, more = ANGLES[kind]
    sizes = {
        "vocab_size": 512, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END,
        "rope_parameters": {"rope_type": kind, "rope_theta": 100.0, **more},
    }  # fmt: skip
    if kind == "longrope":
        sizes |= {"max_position_embeddings": 4 * limit, "original_max_position_embeddings": limit}
    else:
        sizes |= {"max_position_embeddings": limit}
    config = AutoConfig.for_model(name, **sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)
    rows = prompts(22)
    with torch.no_grad():
        expected = [alone(copy.deepcopy(model), [row], 6)[0] for row in rows]
    packing.prepare(model, CPU, [[3, 4], [3, 5, 6], [3, 7]])
    assert generation.generate(model, rows, END, 6) == expected
    assert generation.generate(model, rows, END, 6, batch_size=3) == expected


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_prompts_that_differ_in_their_last_token_alone_have_nothing_else_to_read(family: str) -> None:
    model = tiny_llm.model(family).double()
    rows = [[*prompts(9)[0][:9], last] for last in (11, 12, 13)]
    expected = alone(model, rows, 4)
    packing.prepare(model, CPU, rows)
    assert generation.generate(model, rows, END, 4) == expected


def test_what_some_prompts_share_behind_the_common_beginning_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llm.model().double()
    random = np.random.default_rng(3)
    head, *documents = (random.integers(3, 512, 20).tolist() for _ in range(4))
    rows = [[*head, *document, *question] for question in ([5, 6], [7, 8], [9]) for document in documents]
    expected = alone(model, rows, 4)
    packing.prepare(model, CPU, rows)
    read: list[int] = []
    once = packing.PackedModel.prefill
    monkeypatch.setattr(
        packing.PackedModel, "prefill", lambda self, batch: (read.append(batch.input_ids.numel()), once(self, batch))[1]
    )
    assert generation.generate(model, rows, END, 4) == expected
    assert sum(read) == 20 + 3 * 20 + 3 * 2  # the last token of each prompt is read with its answer


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
@pytest.mark.parametrize("size", [3, 9])
def test_logits_that_are_recorded_are_those_of_each_sequence_alone(
    family: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "INFERENCE_TOKENS", 60)  # prompts and extra sequences are read as several packed rows
    model = tiny_llm.model(family, window=64).double()
    rows, tokens, new = prompts(6), [11, 7, 400], 6
    end = alone(model, rows, new)[2][2]  # some rows are done early
    extra = [[*row[:-2], *range(20, 22 + place)] for place, row in enumerate(rows)]
    packing.prepare(model, CPU, rows)
    recorder = LogitsRecorder(tokens, extra)
    written = generation.generate(model, rows, end, new, batch_size=size, recorder=recorder)
    assert written == generation.generate(model, rows, end, new, batch_size=size)
    model.set_attn_implementation("eager")

    def logits(ids: list[int]) -> np.ndarray:
        return model(torch.tensor([ids])).logits[0, -1, tokens].detach().numpy()

    assert sorted(recorder.extra_logits) == sorted(recorder.step_logits) == list(range(len(rows)))
    assert len({len(answer) for answer in written}) > 1
    for place, (row, answer) in enumerate(zip(rows, written, strict=True)):
        assert np.allclose(recorder.extra_logits[place], logits(extra[place]), atol=1e-5)  # norms in float32
        assert len(recorder.step_logits[place]) == min(len(answer) + 1, new)
        for step, found in enumerate(recorder.step_logits[place]):
            assert np.allclose(found, logits([*row, *answer[:step]]), atol=1e-5), (place, step)


def test_an_answer_ends_before_the_end_token_and_no_prompts_give_none() -> None:
    model = tiny_llm.model().double()
    rows = prompts(4)
    first = alone(model, rows, 3)[0]
    end = first[1]
    assert generation.generate(model, rows[:1], end, 6) == [first[: first.index(end)]]
    assert generation.generate(model, [], END, 6) == []


@pytest.mark.slow
def test_continuous_batching_gives_the_same_answers() -> None:
    model = tiny_llm.model("llama").double()
    rows = prompts(6, rows=4)
    few = ContinuousBatchingConfig(num_blocks=64)  # by default it takes most of the machine's memory
    model.generate_batch = functools.partial(model.generate_batch, continuous_batching_config=few)
    assert generation._continuous_batching(model, rows, END, 5, progress=False) == alone(model, rows, 5)
    assert model.config._attn_implementation != "paged|sdpa"


KEYS = [f"row {i}" for i in range(7)]


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [None, Sampling(1.3, 1.0, 4), Sampling(0.8, 0.9, 4)])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gemma3_text"])
def test_a_row_writes_the_same_alone_and_in_any_batch(family: str, sampling: Sampling | None) -> None:
    model = tiny_llm.model(family).float()
    rows = prompts(head=6)
    packing.prepare(model, CPU, rows)

    def written(order: list[int], size: int, end: int) -> list[list[int]]:
        chosen, keys = [rows[i] for i in order], [KEYS[i] for i in order]
        return generation.generate(model, chosen, end, 12, batch_size=size, sampling=sampling, keys=keys)

    end = written([0], 1, END)[0][4]  # one row at least is done early, and leaves the batch
    together = written(list(range(7)), 7, end)
    assert len({len(answer) for answer in together}) > 1
    assert [written([i], 1, end)[0] for i in range(7)] == together
    order = [3, 6, 0, 5, 1, 4, 2]
    for size in (2, 3, 5):
        found = written(order, size, end)
        assert [found[order.index(i)] for i in range(7)] == together, size


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    model = tiny_llm.model().float()
    row = prompts(head=6)[0]
    count = 600

    def drawn(seed: int, top_p: float = 1.0) -> list[int]:
        sampling = Sampling(0.7, top_p, seed)
        found = generation.generate(
            model, [row] * count, 511, 1, batch_size=200, sampling=sampling, keys=list(range(count))
        )
        return [answer[0] if answer else 511 for answer in found]

    wanted = (model(torch.tensor([row])).logits[0, -1].detach() / 0.7).softmax(-1).numpy()
    first = drawn(1)
    seen = np.bincount(first, minlength=len(wanted)) / count
    assert np.abs(seen - wanted).max() < 4 * np.sqrt(0.25 / count)
    assert seen.max() < 0.9, "something is drawn"
    assert first == drawn(1)
    assert first != drawn(2)
    order = np.argsort(-wanted)
    nucleus = set(order[: int((wanted[order].cumsum() < 0.5).sum()) + 1].tolist())
    assert set(drawn(1, 0.5)) <= nucleus
