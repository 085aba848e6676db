"""Ask the endpoint, and read labels from its replies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from retune import params
from retune.data import kinds, labels, written_answers
from retune.errors import RetuneError
from retune.llm.prompt import template
from retune.params import Params
from retune.sources import chat_api, decision_api
from retune.sources.chat_api import Reply

log = logging.getLogger("retune")

CANDIDATES = 20
"""Candidates for the first token that are asked for; more are refused by most endpoints."""
LEAST = 1e-15


class PromptedEndpoint:
    """An endpoint behind a prompt; `predict` gives a row per input row, in its order."""

    def __init__(self, spec: Params) -> None:
        self.spec = spec
        self.answers = [str(spec.prompt.answers[label]) for label in spec.labels]

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns id, label, prob_0 .. prob_K-1, truncated, raw, prompt_tokens, completion_tokens, cost.

        `raw` is the answer as written, or what the endpoint said against the request.
        """
        rows = list(frame.select(kinds.of(self.spec.kind).TEXTS).iter_rows(named=True))
        replies = self.ask(rows)
        decides = self.spec.api.protocol == "decision"
        texts = [str(label) for label in self.spec.labels] if decides else self.answers
        read = [(read_decision if decides else read_reply)(reply, texts) for reply in replies]
        parsed = pl.Series([one is not None for one in read], dtype=pl.Boolean)
        nothing = np.zeros(len(self.answers))
        log_probs = np.array([nothing if one is None else one for one in read]).reshape(-1, len(self.answers))
        table = labels.predictions(frame["id"], log_probs, self.spec.labels, np.zeros(len(frame), dtype=bool))
        spent = pl.DataFrame(
            {
                "raw": [reply.text if not reply.refused else f"refused: {reply.refused}" for reply in replies],
                "prompt_tokens": [reply.prompt_tokens for reply in replies],
                "completion_tokens": [reply.completion_tokens for reply in replies],
            },
            schema={"raw": pl.String, "prompt_tokens": pl.Int64, "completion_tokens": pl.Int64},
        )
        prices = pl.col("prompt_tokens") * self.spec.api.price_input
        prices += pl.col("completion_tokens") * self.spec.api.price_output
        spent = spent.with_columns(cost=prices / 1e6)
        self.tell(spent, int((~parsed).sum()), sum(reply.cut for reply in replies))
        said = pl.when(parsed).then(pl.col("label", *labels.names(len(self.answers)))).otherwise(None)
        return table.with_columns(said).hstack(spent)

    def ask(self, rows: list[dict[str, str]]) -> list[Reply]:
        """The replies to `rows`, with log-probabilities where they are wanted and offered."""
        if not rows:
            return []
        api, how = self.spec.api, "by parsing"
        if api.protocol == "decision":
            instructions = template.system(self.spec.prompt, self.spec.labels)
            criteria = dict(zip(map(str, self.spec.labels), self.answers, strict=True))
            log.info("%s at %s decides among %s", api.model, api.url, ", ".join(criteria))
            return decision_api.ask(api, [decision_api.request(api, row, instructions, criteria) for row in rows])
        wanted = api.logprobs != "never"
        if wanted:  # the first row shows whether the endpoint takes the question
            first = chat_api.ask(api, [self.request(rows[0], logprobs=True)])[0]
            wanted = not chat_api.about_logprobs(first)
            scored = of_first_token(first.top, self.answers) is not None
            why = "its first token tells no answers apart" if first.top else "no log-probabilities are offered"
            if api.logprobs == "always" and not scored and not (first.refused and wanted):
                raise RetuneError(f"{api.url}: {why}; take api.logprobs: auto to read what it writes")
            how = "by the probability of the first token" if scored else f"by parsing: {why}"
        log.info("%s at %s answers; its labels are read %s", api.model, api.url, how)
        return chat_api.ask(api, [self.request(row, wanted) for row in rows])

    def request(self, row: dict[str, str], logprobs: bool) -> dict[str, Any]:
        """The row as the task's prompt shows it."""
        prompt, more = self.spec.prompt, {"logprobs": True, "top_logprobs": CANDIDATES} if logprobs else {}
        system = template.system(prompt, self.spec.labels)
        return chat_api.request(self.spec.api, system, template.user(prompt.user, row), **more)

    def tell(self, spent: pl.DataFrame, unparsed: int, cut: int) -> None:
        """Log what the rows took."""
        asked, written = (int(spent[name].sum()) for name in ("prompt_tokens", "completion_tokens"))
        log.info(f"{len(spent):,} rows took {asked:,} + {written:,} tokens and cost {spent['cost'].sum():.4f}")
        if unparsed:
            ended = f"; api.max_tokens ({self.spec.api.max_tokens}) cut {cut}: a larger one may help" if cut else ""
            log.warning("%d of %d answers name no label; they count as wrong%s", unparsed, len(spent), ended)


def read_decision(reply: Reply, labels: Sequence[str]) -> np.ndarray | None:
    """Log-probabilities of the labels, float64 [labels]; None where the endpoint gave none of one."""
    known = dict(reply.top)
    names = [label.encode().hex() for label in labels]
    return np.array([known[name] for name in names]) if known.keys() == set(names) else None


def read_reply(reply: Reply, texts: Sequence[str]) -> np.ndarray | None:
    """Log-probabilities of the labels, float64 [labels]; None where the reply names none."""
    scores = None if _is_thinking(reply, texts) else of_first_token(reply.top, texts)
    if scores is not None:
        return scores
    code = written_answers.read(reply.text, texts)
    if code is None:
        return None
    sure = np.full(len(texts), -np.inf)
    sure[code] = 0.0
    return sure


def _is_thinking(reply: Reply, texts: Sequence[str]) -> bool:
    """Whether max_tokens ended an answer whose first token begins no label: thoughts without a tag, most likely."""
    first = bytes.fromhex(reply.top[0][0]).strip() if reply.cut and reply.top else b""
    return bool(first) and not any(text.strip().encode().startswith(first) for text in texts)


def of_first_token(top: Sequence[tuple[str, float]], texts: Sequence[str]) -> np.ndarray | None:
    """Log-probabilities of the answers from (bytes in hexadecimal, log-probability) of candidates for the first token.

    A candidate counts for the answer that begins with it; one that may begin several (a digit, a part of a character)
    counts for none. None where the likeliest candidate is of that sort, or no candidate begins an answer.
    """
    spelled = [text.strip().encode() for text in texts]
    found = np.zeros(len(texts))
    for place, (piece, logprob) in enumerate(top):
        token = bytes.fromhex(piece).strip()
        fits = [code for code, answer in enumerate(spelled) if token and answer.startswith(token)]
        if len(fits) == 1:
            found[fits[0]] += np.exp(logprob)
        elif fits and place == 0:
            return None
    if not found.any():
        return None
    least = np.exp(min(logprob for _, logprob in top))
    found = np.maximum(np.where(found > 0, found, least), LEAST)
    return np.asarray(np.log(found) - np.log(found.sum()))


def load(model_dir: Path, base: Path, hardware: Params, options: Params | None = None) -> PromptedEndpoint:
    """Read the stage's spec.json; the model itself is elsewhere."""
    return PromptedEndpoint(params.load(model_dir / "spec.json"))
