"""A model that is served: what it can do, its limits, and its answers by way of the batches of all requests."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import run_in_threadpool

from retune import progress
from retune.errors import RetuneError
from retune.serve import close_calls
from retune.serve.batching import Batcher, QueueFull
from retune.serve.refusal import Refusal, Unavailable

if TYPE_CHECKING:
    from retune.inference import Model
    from retune.serve.metrics import Metrics
    from retune.serve.options import Options

log = logging.getLogger("retune")

EXPANSION = 18
"""The most tokens that a character can become: NFKC writes U+FDFA as 18 letters."""

AT_ONCE = 4096
"""Texts of up to so many characters are counted on the event loop, longer ones on a thread."""

SIDES = ("query", "document")


class Served:
    """A model with its worker thread, which alone asks it."""

    def __init__(self, model: Model, options: Options, metrics: Metrics) -> None:
        self.model, self.options, self.metrics = model, options, metrics
        self.name, self.kind = model.name, str(model.spec.kind)
        predictor: Any = model.predictor
        self.count, self.counting = _counter(predictor), threading.Lock()
        self.longest = int(getattr(predictor, "max_length", 0) or model.spec.get("training", {}).get("max_length", 512))
        # a model that thinks writes so many more tokens of each row
        self.written = int(predictor.options.max_new_tokens) if getattr(predictor, "thinks", False) else 0
        self.batcher = Batcher(
            self.name, self._compute, options.queue, options.batch_seconds, metrics.batches_of(self.name)
        )
        metrics.queue_of(self.name, lambda: self.batcher.waiting)

    @property
    def embeds(self) -> bool:
        """Whether it gives vectors."""
        return bool(self.model.spec.learner == "embedder")

    @property
    def ranks(self) -> bool:
        """Whether it scores documents for queries."""
        return self.kind == "ranking"

    @property
    def labels(self) -> list[str]:
        """The labels whose probabilities it tells, in the order of the training; none of rankings and plain numbers."""
        numbers = self.kind == "scoring" and self.model.spec.learner == "linear"
        return [] if self.ranks or numbers else [str(label) for label in self.model.spec.labels]

    def warm_up(self) -> None:
        """Answer once before anybody asks: the first pass of a model is slow. No endpoint is asked, which may cost."""
        if self.model.spec.learner != "api":
            row = dict.fromkeys(self.model.texts, "warm up")
            if "dimension" in row:
                row["dimension"] = next(iter(self.model.spec.dimensions))
            with progress.hidden():
                self.model.predict([row])

    async def predict(self, rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
        """What `retune.inference.Model.predict` says of each row; its texts are checked before."""
        return await self._ask("predict", rows, [self.written + sum(map(self._cost, row.values())) for row in rows])

    async def embed(self, texts: Sequence[str], side: str) -> list[Any]:
        """The unit vector of each text, float32 [width], as a query or as a document."""
        return await self._ask(side, texts, [self._cost(text) for text in texts])

    async def check(self, texts: Sequence[str], param: str) -> None:
        """Raise `Refusal` for too many texts, and for one that is empty or has too many tokens."""
        self.check_batch(len(texts), param)
        for place, text in enumerate(texts):
            if not text.strip():
                where = f"{param}[{place}]" if len(texts) > 1 else param
                raise Refusal(422, "empty_text", f"{where} is empty: leave it out, or fill it", where)
        limit = self.options.max_tokens
        for place, text in enumerate(texts):
            if len(text) * EXPANSION > limit and (found := await self.tokens([text])) > limit:
                where = f"{param}[{place}]" if len(texts) > 1 else param
                said = f"{where} has {found:,} tokens, more than the {limit:,} that one text may have (--max-tokens)"
                raise Refusal(422, "too_many_tokens", said, where, found, limit)

    def check_batch(self, count: int, param: str) -> None:
        """Raise `Refusal` for more than one request may have."""
        if count > (limit := self.options.max_batch):
            said = f"{param} has {count:,} items, more than the {limit:,} of one request (--max-batch): send several"
            raise Refusal(422, "batch_too_large", said, param, count, limit)

    async def tokens(self, texts: Sequence[str]) -> int:
        """The tokens of texts, special ones of an encoder included; characters, where the model has no tokenizer."""
        if sum(map(len, texts)) <= AT_ONCE:
            return self._count(texts)
        return await run_in_threadpool(self._count, texts)

    def close(self) -> None:
        """End the worker."""
        self.batcher.close()

    def _count(self, texts: Sequence[str]) -> int:
        with self.counting:
            return self.count(list(texts))

    def _cost(self, text: str) -> int:
        """About the tokens that the model reads of a text."""
        return min(len(text) + 2, self.longest)

    def _compute(self, work: str, rows: list[Any]) -> Sequence[Any]:
        if work == "predict":
            return close_calls.predict(self.model, rows)
        return list(self.model.embed(rows, work))

    async def _ask(self, work: str, rows: Sequence[Any], costs: Sequence[int]) -> list[Any]:
        options = self.options
        try:
            return await self.batcher.ask(work, rows, costs, options.timeout)
        except QueueFull as error:
            said = f"{error.waiting:,} rows wait for {self.name}, and {len(rows):,} more would be beyond the "
            said += f"{options.queue:,} that may (--queue): try again soon"
            raise Refusal(429, "queue_full", said, None, error.waiting + len(rows), options.queue) from None
        except TimeoutError:
            said = f"{self.name} did not answer within {options.timeout:g} seconds (--timeout): ask for less at a time"
            raise Refusal(504, "timeout", said, None, None, options.timeout) from None
        except Unavailable as error:
            raise Refusal(error.status, "engine_failed", str(error)) from None
        except RetuneError as error:
            if str(error).startswith("memory ran out"):
                log.error("%s: %s", self.name, error)
                raise Refusal(503, "out_of_memory", f"{self.name} ran out of memory: ask for less at a time") from None
            raise Refusal(422, "invalid_value", str(error)) from None


def _counter(predictor: Any) -> Callable[[list[str]], int]:
    """What counts the tokens of texts, by a tokenizer of its own: one that two threads use at a time refuses."""
    if chat := getattr(predictor, "chat", None):
        backend = copy.deepcopy(chat.text_tokenizer)
        return lambda texts: sum(len(one.ids) for one in backend.encode_batch(texts))
    if tokenizer := getattr(predictor, "tokenizer", None):
        own = copy.deepcopy(tokenizer)
        return lambda texts: sum(len(ids) for ids in own(texts, verbose=False)["input_ids"])
    return lambda texts: sum(map(len, texts))


def pick(models: Sequence[Served], name: str | None, able: Callable[[Served], object], does: str) -> Served:
    """The model of a request: the one that it names, or the only one that can do what is asked.

    `does` completes "embeds texts". Raises `Refusal` where there is none, or several and none is named.
    """
    known = ", ".join(one.name for one in models)
    fitting = [one for one in models if able(one)]
    if name is not None:
        found = next((one for one in models if one.name == name), None)
        if found is None:
            raise Refusal(404, "model_not_found", f"there is no such model here (`model`): there are {known}", "model")
        if found not in fitting:
            able_names = ", ".join(one.name for one in fitting)
            raise Refusal(422, "wrong_model", f"{found.name} {does_not(does)}; {able_names} {does}", "model")
        return found
    if len(fitting) != 1:
        names = ", ".join(one.name for one in fitting)
        raise Refusal(422, "model_missing", f"several models here could answer: say `model`, one of {names}", "model")
    return fitting[0]


def does_not(does: str) -> str:
    """`embeds texts` -> `does not embed texts`."""
    verb, _, rest = does.partition(" ")
    return f"does not {verb[:-1]} {rest}"
