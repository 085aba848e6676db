"""The LLM learner where rows come with reasoning: trained on it, predicting behind it, scored with and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retune.learners.llm.fit import encode
from retune.learners.llm.fit import fit as fit_llm
from retune.learners.llm.predict import load as load_llm
from retune.learners.llm.task_prompt import prepare
from retune.llm import label_scoring, reading
from retune.llm import predictor as llm_predictor
from retune.llm.predictor import PromptedLlm
from retune.llm.prompt import prompt, targets
from retune.llm.recorded_logits import LogitsRecorder
from retune.params import Params
from tests.support import constrained_decoding, tiny_llm
from tests.support.llm_fit import PROMPT, fit
from tests.support.reasoning_fit import ALONE, GENERATION, LEARNT, companies, pair, pairs, scoring

pytestmark = pytest.mark.slow

SAMPLED = Params(GENERATION | {"samples": 3, "sample_rows": 4})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llm.tiny_llm(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def thinker(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair model that has learnt to think."""
    folder = tmp_path_factory.mktemp("thinker")
    fit(pair(**LEARNT), base, folder, pairs(48), pairs(12))
    return folder / "out"


@pytest.fixture(scope="module")
def scorer(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scoring model that has learnt to think and to give a reason."""
    folder = tmp_path_factory.mktemp("scorer")
    fit(scoring(**LEARNT), base, folder, companies(64), companies(12))
    return folder / "out"


def one_by_one(predictor: PromptedLlm, ids: list[int]) -> np.ndarray:
    """Probabilities of the labels behind `ids`."""
    return np.exp(
        constrained_decoding.log_probs(predictor.model, ids, predictor.chat.answers, predictor.chat.after_answer)
    )


def test_a_pair_model_thinks_and_is_read_behind_its_thoughts(base: Path, thinker: Path) -> None:
    predictor = load_llm(thinker, base, pair().hardware, Params(GENERATION))
    rows = pairs(9)
    found = predictor.predict(rows)
    assert found.columns == [
        "id", "label", "prob_0", "prob_1", "truncated", "generated", "generated_label", "reasoning",
        "reasoning_tokens", "direct_prob_0", "direct_prob_1",
    ]  # fmt: skip
    assert found["generated_label"].to_list() == rows["label"].cast(pl.String).to_list(), "it has learnt the task"
    assert found["label"].to_list() == found["generated_label"].to_list()
    assert found["reasoning"].to_list() == rows["reasoning"].to_list()
    assert found["generated"][0] == targets.target_text(rows.row(0, named=True), PROMPT, True)
    chat = predictor.chat
    for place, ids in enumerate(prompt.encode(chat, rows).ids):
        thoughts = chat.text_tokenizer.encode(found["reasoning"][place]).ids
        after = one_by_one(predictor, [*ids, *targets.think_block(chat, thoughts)])
        direct = one_by_one(predictor, [*ids, *targets.think_block(chat, [])])
        assert found.row(place, named=True)["prob_1"] == pytest.approx(after[1], abs=1e-5)
        assert found.row(place, named=True)["direct_prob_1"] == pytest.approx(direct[1], abs=1e-5)
        assert found["reasoning_tokens"][place] == len(thoughts)
    assert predictor.written > 9
    assert predictor.seconds > 0


def test_both_readings_come_with_the_text_and_only_what_it_does_not_tell_is_read_again(
    base: Path, thinker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[int] = []
    once = reading.label_log_probs

    def counted(packed: Any, prompts: list[list[int]], *more: Any, **options: Any) -> np.ndarray:
        again.append(len(prompts))
        return once(packed, prompts, *more, **options)

    monkeypatch.setattr(reading, "label_log_probs", counted)
    rows, names = pairs(9), ["prob_1", "direct_prob_1"]
    for tokens, repeated in ((GENERATION["max_new_tokens"], 0), (2, 9)):  # two tokens: no row closes its thoughts
        options = Params(GENERATION | {"max_new_tokens": tokens})
        found = load_llm(thinker, base, pair().hardware, options).predict(rows)
        assert sum(again) == repeated
        with monkeypatch.context() as patch:
            patch.setattr(llm_predictor, "logits_recorder", lambda *_: None)
            twice = load_llm(thinker, base, pair().hardware, options).predict(rows)
        assert sum(again) == repeated + 18
        assert found.drop(names, "prob_0", "direct_prob_0").equals(twice.drop(names, "prob_0", "direct_prob_0"))
        assert np.allclose(found.select(names), twice.select(names), atol=1e-5)
        again.clear()


def test_a_text_tells_of_the_answer_only_where_the_thoughts_stand_in_it_token_by_token(
    base: Path, thinker: Path
) -> None:
    predictor = load_llm(thinker, base, pair().hardware, Params(GENERATION))
    chat = predictor.chat
    assert chat.think is not None
    block = targets.think_block(chat, chat.text_tokenizer.encode("花呗").ids)
    same = block[len(chat.think.open) :]
    other = [same[0] + 1, *same[1:]]  # reads otherwise: it was written with other tokens
    steps = [np.array([float(step), 0.0]) for step in range(len(same) + 1)]
    recorder = LogitsRecorder([1, 2], [], step_logits={0: steps, 1: steps, 2: steps[:-1]})
    trie = label_scoring.trie_of(chat.answers, chat.after_answer)
    found = predictor._seen(recorder, trie, [block] * 3, [same, other, same[:-1]])
    assert {row: logits[0] for row, logits in found.items()} == {3: len(same)}


def test_without_thinking_nothing_is_generated_and_the_block_is_empty(base: Path, thinker: Path) -> None:
    thinking = load_llm(thinker, base, pair().hardware, Params(GENERATION)).predict(pairs(6))
    for options in (ALONE, None):
        predictor = load_llm(thinker, base, pair().hardware, options)
        found = predictor.predict(pairs(6))
        assert found.columns == ["id", "label", "prob_0", "prob_1", "truncated"]
        assert found["prob_1"].to_list() == pytest.approx(thinking["direct_prob_1"].to_list(), abs=1e-6)
        assert predictor.written == 0


def test_thoughts_that_find_no_end_are_closed_by_force(base: Path, thinker: Path) -> None:
    predictor = load_llm(thinker, base, pair().hardware, Params(GENERATION | {"max_new_tokens": 2}))
    found = predictor.predict(pairs(4))
    assert found["generated_label"].null_count() == 4
    assert found["prob_0"].null_count() == 0
    assert found["label"].null_count() == 0
    assert all(text.startswith("<think>\n") and "</think>" not in text for text in found["generated"])


def test_a_row_is_predicted_the_same_alone_and_among_others(base: Path, scorer: Path) -> None:
    rows = companies(9)
    options = Params(GENERATION | {"temperature": 0.9})
    together = load_llm(scorer, base, scoring().hardware, options).predict(rows)
    alone = load_llm(scorer, base, scoring().hardware, Params(options | {"batch_size": 1}))
    apart = pl.concat([alone.predict(rows[i : i + 1]) for i in range(len(rows))])
    assert together["generated"].to_list() == apart["generated"].to_list()
    assert np.allclose(together["score"], apart["score"], atol=1e-4)


def test_a_scoring_model_gives_the_expected_score_and_a_reason(base: Path, scorer: Path) -> None:
    predictor = load_llm(scorer, base, scoring().hardware, Params(GENERATION))
    rows = companies(8)
    found = predictor.predict(rows)
    assert found.columns[:2] == ["id", "score"]
    assert "label" not in found.columns
    probabilities = found.select(f"prob_{code}" for code in range(10)).to_numpy()
    assert np.allclose(probabilities.sum(1), 1)
    assert np.allclose(found["score"], probabilities @ np.arange(1, 11))
    assert np.abs(found["score"].to_numpy() - rows["score"].to_numpy()).max() < 1, "it has learnt the task"
    assert found["generated_label"].to_list() == rows["score"].cast(pl.String).to_list()
    assert found["reason"].to_list() == rows["reason"].to_list()
    chat = predictor.chat
    assert chat.after_answer == chat.reason[0] != chat.end
    ids = [
        *prompt.encode(chat, rows).ids[1],
        *targets.think_block(chat, chat.text_tokenizer.encode(found["reasoning"][1]).ids),
    ]
    assert np.allclose(probabilities[1], one_by_one(predictor, ids), atol=1e-5), "1 and 10 are told apart"


def test_samples_are_drawn_row_by_row(base: Path, scorer: Path, thinker: Path) -> None:
    predictor = load_llm(scorer, base, scoring().hardware, SAMPLED)
    drawn = predictor.sample(companies(4))
    assert drawn.schema == {"id": pl.String, "samples": pl.List(pl.Float64)}
    assert drawn["samples"].list.len().to_list() == [3] * 4
    assert predictor.sample(companies(4)).equals(drawn)
    assert predictor.sample(companies(4)[2:]).equals(drawn[2:])
    labels = load_llm(thinker, base, pair().hardware, SAMPLED).sample(pairs(3))
    assert labels["samples"].dtype == pl.List(pl.String)
    assert set(labels["samples"].explode().drop_nulls()) <= {"0", "1"}


def test_dev_is_measured_by_the_loss_of_whole_targets_or_by_probabilities(base: Path, tmp_path: Path) -> None:
    thinking = fit(pair(training__epochs=2), base, tmp_path / "a", pairs(24), pairs(8))
    assert {key for record in thinking.history for key in record if key.startswith("eval_")} == {"eval_loss"}
    spec = scoring(training__epochs=2, training__thinking=False, training__select="mae")
    plain = fit(spec, base, tmp_path / "b", companies(24), companies(8))
    best = min(record["eval_mae"] for record in plain.history if "eval_mae" in record)
    assert {"eval_loss", "eval_mae", "eval_spearman"} <= set(plain.history[-1])
    predicted = load_llm(tmp_path / "b/out", base, spec.hardware, ALONE).predict(companies(8))
    assert np.abs(predicted["score"].to_numpy() - companies(8)["score"].to_numpy()).mean() == pytest.approx(
        best, abs=1e-5
    )
    assert "generated" not in predicted.columns


def test_cut_reasoning_is_counted(base: Path, tmp_path: Path) -> None:
    rows = pairs(12).with_columns(
        reasoning=pl.when(pl.col("id") == "r1").then(pl.lit("长" * 200)).otherwise("reasoning")
    )
    record = fit(pair(training__epochs=0.5), base, tmp_path, rows, pairs(4))
    assert record.resources["cut_targets"] == 1
    assert any("1 of 12 training rows lost the end of their reasoning" in message for message in record.messages)


def test_bits_checkpointing_and_attention_reach_the_model(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitsandbytes.nn import Linear8bitLt

    from retune.llm import adapter
    from retune.training import job

    spec = scoring(
        training__epochs=1, training__gradient_checkpointing=True, quantization__bits=8, hardware__dtype="bfloat16",
        hardware__attention="sdpa",
    )  # fmt: skip
    seen: dict[str, Any] = {}
    load, run = adapter.load_base, job.run

    def loaded(*arguments: Any) -> Any:
        model = load(*arguments)
        seen["attention"] = model.config._attn_implementation
        seen["quantised"] = sum(isinstance(module, Linear8bitLt) for module in model.modules())
        return model

    def ran(training: job.Job, *more: Any) -> Any:
        record = run(training, *more)
        modules = training.model.modules()
        seen["checkpointed"] = any(getattr(module, "gradient_checkpointing", False) for module in modules)
        return record

    monkeypatch.setattr(adapter, "load_base", loaded)
    monkeypatch.setattr(job, "run", ran)
    record = fit(spec, base, tmp_path, companies(16), companies(8))
    assert seen == {"attention": "sdpa", "quantised": 14, "checkpointed": True}
    assert np.isfinite(record.history[-1]["eval_loss"])
    found = load_llm(tmp_path / "out", base, spec.hardware, Params(GENERATION)).predict(companies(4))
    assert found["score"].is_between(1, 10).all()


def test_rows_of_one_document_share_a_batch_and_the_answers_weigh_what_params_say(base: Path, tmp_path: Path) -> None:
    rows, tokens = companies(24), {}
    rows = rows.with_columns(document=pl.concat_str("document", *["group"] * 6))
    for together in (False, True):
        spec = scoring(training__epochs=1, training__batch_size=4, training__keep_together=together)
        spec.prompt["user"] = "{document}：{dimension}"  # what rows share stands first
        (out := tmp_path / f"out-{together}").mkdir()
        record = fit_llm(spec, rows, rows, base, out, tmp_path / f"scratch-{together}")
        tokens[together] = record.resources["tokens"]
    assert tokens[True] < tokens[False]
    heavy = scoring(training__answer_weight=5.0)
    *_, weights = encode(prepare(heavy, base), rows, heavy).items[0]
    assert set(weights) == {1.0, 5.0}
