"""Predictions of an LLM behind its task's prompt: label probabilities by scoring, texts by generation.

A model that thinks is read twice: behind the reasoning that it has written, which is the decision, and `directly`,
behind an empty block of thoughts. The answer that it wrote itself stands beside them. Where the answers part at one
token only (yes, no), writing the text gives both readings on its way, and no prompt is read a second time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from retune.data import labels
from retune.data.written_answers import read as parse
from retune.llm import adapter, generation
from retune.llm.label_scoring import AnswerTrie, log_probs_of_edges, trie_of
from retune.llm.packing.packing import PackedModel
from retune.llm.prompt import prompt, targets
from retune.llm.reading import packed_by, score
from retune.llm.recorded_logits import LogitsRecorder
from retune.llm.sampling import Sampling
from retune.params import Params

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt
    from retune.training.hardware import Chosen

SPARE = 16
"""Tokens that a generated answer may have beyond the longest one that the prompt asks for."""


class PromptedLlm:
    """A model behind its prompt; `predict` gives a row per input row, in its order.

    `written` are the tokens that it has generated so far, `seconds` the time that this took.
    """

    def __init__(self, model: Any, chat: ChatPrompt, chosen: Chosen, spec: Params, options: Params | None) -> None:
        self.model, self.chat, self.chosen, self.spec = model, chat, chosen, spec
        self.options = Params() if options is None else options
        self.packing: PackedModel | None = None
        self.written, self.seconds = 0, 0.0

    @property
    def thinks(self) -> bool:
        """Whether a prediction is read behind thoughts that the model writes."""
        return self.chat.think is not None and self.options.get("thinking", False)

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label (kind scoring: score, the expected one), prob_0 .. prob_K-1, truncated for the rows.

        With thinking the probabilities are those behind the generated reasoning, which is closed where the model did
        not close it; and there are generated, generated_label (null: none is named), reasoning, reasoning_tokens,
        reason (scoring), and direct_prob_0 .., the probabilities behind an empty block of thoughts.
        """
        prompts = prompt.encode(self.chat, frame)
        nothing = [[*ids, *targets.think_block(self.chat, [])] for ids in prompts.ids]
        packed, truncated = self._packed(prompts.ids), np.array(prompts.truncated, dtype=bool)
        if not self.thinks:
            log_probs = score(packed, self.chat, nothing, self.chosen, progress=True)
            return self._table(frame, log_probs, truncated)
        trie = trie_of(self.chat.answers, self.chat.after_answer)
        recorder = logits_recorder(trie, nothing)
        written = self._write(prompts.ids, list(frame["id"]), self._sampling(self.options.temperature), recorder)
        texts = [self._text(ids) for ids in written]
        said = [self._read(text) for text in texts]
        thoughts = [one.ids for one in self.chat.text_tokenizer.encode_batch([one.reasoning for one in said])]
        blocks = [targets.think_block(self.chat, some) for some in thoughts]
        known = {} if recorder is None else self._seen(recorder, trie, blocks, written)
        behind = [[*ids, *block] for ids, block in zip(prompts.ids, blocks, strict=True)]
        # one call, so that both readings of a row share its prompt
        log_probs = self._score(packed, trie, [*nothing, *behind], known)
        direct, after = log_probs[: len(frame)], log_probs[len(frame) :]
        more = {
            "generated": pl.Series(texts, dtype=pl.String),
            "generated_label": pl.Series([self._label(one) for one in said], dtype=pl.String),
            "reasoning": pl.Series([one.reasoning for one in said], dtype=pl.String),
            "reasoning_tokens": pl.Series(list(map(len, thoughts)), dtype=pl.Int64),
        }
        if self.chat.reason:
            more["reason"] = pl.Series([one.reason for one in said], dtype=pl.String)
        names = [f"direct_{name}" for name in labels.names(len(self.chat.labels))]
        directly = {name: pl.Series(np.exp(direct[:, code])) for code, name in enumerate(names)}
        return self._table(frame, after, truncated).with_columns(**more, **directly)

    def sample(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, samples: `generation.samples` answers of each row, drawn one by one; null where none is named.

        They are drawn at `generation.temperature`, or at 1 where that is 0.
        """
        count = self.options.samples
        prompts = [ids for ids in prompt.encode(self.chat, frame).ids for _ in range(count)]
        keys = [(row, number) for row in frame["id"] for number in range(count)]
        self._packed(prompts)
        written = self._write(prompts, keys, self._sampling(self.options.temperature or 1.0))
        said = [self._label(self._read(self._text(ids))) for ids in written]
        number = self.spec.kind == "scoring"
        values = [float(label) if number and label is not None else label for label in said]
        drawn = [values[start : start + count] for start in range(0, len(values), count)]
        inner = pl.Float64 if number else pl.String
        return pl.DataFrame({"id": frame["id"], "samples": pl.Series(drawn, dtype=pl.List(inner))})

    def generate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, generated (the text that follows the prompt, greedily), generated_label (null: names no label).

        What users of other tools get: no score, only a text to parse (retune.data.written_answers).
        """
        prompts = prompt.encode(self.chat, frame)
        model = adapter.base_of(self.model)
        self._packed(prompts.ids)
        longest = max(map(len, self.chat.answers)) + 1 + SPARE
        with adapter.mixed_precision(model, self.chosen):
            written = generation.generate(model, prompts.ids, self.chat.end, longest, progress=True)
        texts = [self.chat.text_tokenizer.decode(ids) for ids in written]
        known = [self.chat.text_tokenizer.decode(ids) for ids in self.chat.answers]
        codes = [parse(text, known) for text in texts]
        return pl.DataFrame(
            {
                "id": frame["id"],
                "generated": pl.Series(texts, dtype=pl.String),
                "generated_label": pl.Series(
                    [None if code is None else self.chat.labels[code] for code in codes], dtype=pl.String
                ),
            }
        )

    def _packed(self, prompts: list[list[int]]) -> PackedModel:
        if self.packing is None:
            self.packing = packed_by(adapter.base_of(self.model), self.chosen, prompts)
        return self.packing

    def _table(self, frame: pl.DataFrame, log_probs: np.ndarray, truncated: np.ndarray) -> pl.DataFrame:
        table = labels.predictions(frame["id"], log_probs, self.chat.labels, truncated)
        if self.spec.kind != "scoring":
            return table
        expected = np.exp(log_probs) @ np.array(self.chat.labels, dtype=np.float64)
        return table.with_columns(label=pl.Series(expected, dtype=pl.Float64)).rename({"label": "score"})

    def _sampling(self, temperature: float) -> Sampling | None:
        options = self.options
        return Sampling(temperature, options.top_p, self.spec.seed) if temperature else None

    def _write(
        self,
        prompts: list[list[int]],
        keys: list[Any],
        sampling: Sampling | None,
        recorder: LogitsRecorder | None = None,
    ) -> list[list[int]]:
        """What follows the prompts and the opening tag."""
        assert self.chat.think is not None
        start, options, opening = time.monotonic(), self.options, self.chat.think.open
        model = adapter.base_of(self.model)
        with adapter.mixed_precision(model, self.chosen):
            written = generation.generate(
                model, [[*ids, *opening] for ids in prompts], self.chat.end, options.max_new_tokens, options.batch_size,
                progress=True, sampling=sampling, keys=keys, recorder=recorder,
            )  # fmt: skip
        self.written += sum(map(len, written))
        self.seconds += time.monotonic() - start
        return written

    def _text(self, written: list[int]) -> str:
        """As a text, the opening tag included."""
        assert self.chat.think is not None
        ids = [*self.chat.think.open, *written]
        return self.chat.tokenizer.decode(ids, skip_special_tokens=False).rstrip("\ufffd")

    def _seen(
        self, recorder: LogitsRecorder, trie: AnswerTrie, blocks: list[list[int]], written: list[list[int]]
    ) -> dict[int, np.ndarray]:
        """Logits of the trie's edges that were found while the texts were written.

        By row: without a thought; by row + rows: behind its block, if that stands in the text token by token.
        """
        assert self.chat.think is not None
        (node,), opening = trie.nodes, self.chat.think.open
        found = dict(recorder.extra_logits)
        for row, (block, ids) in enumerate(zip(blocks, written, strict=True)):
            ahead = [*block, *node]
            place, steps = len(ahead) - len(opening), recorder.step_logits.get(row, [])
            if place < len(steps) and ahead == [*opening, *ids][: len(ahead)]:
                found[len(blocks) + row] = steps[place]
        return found

    def _score(
        self, packed: PackedModel, trie: AnswerTrie, sequences: list[list[int]], known: dict[int, np.ndarray]
    ) -> np.ndarray:
        """Log-probabilities of the labels behind each sequence; those of `known` logits are not read again."""
        chat, rest = self.chat, [row for row in range(len(sequences)) if row not in known]
        log_probs = np.zeros((len(sequences), len(chat.answers)))
        if rest:
            log_probs[rest] = score(packed, chat, [sequences[row] for row in rest], self.chosen, progress=True)
        if known:
            logits = np.stack(list(known.values())).astype(np.float64)
            log_probs[list(known)] = log_probs_of_edges(logits, trie)
        return log_probs

    def _read(self, text: str) -> targets.ParsedText:
        return targets.parse(
            text, [self.spec.prompt.answers[label] for label in self.chat.labels], self.spec.prompt.get("reason")
        )

    def _label(self, said: targets.ParsedText) -> str | None:
        return None if said.code is None else self.chat.labels[said.code]


def logits_recorder(trie: AnswerTrie, sequences: list[list[int]]) -> LogitsRecorder | None:
    """What to record of a generation, whose answers follow thoughts, to know the labels' probabilities behind both.

    None where the answers part more than once: a text goes one way at the first choice, and tells of no other.
    """
    if len(trie.nodes) != 1:
        return None
    return LogitsRecorder([token for _, token in trie.edges], [[*sequence, *trie.nodes[0]] for sequence in sequences])
