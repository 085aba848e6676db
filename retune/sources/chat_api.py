"""Questions to an OpenAI-compatible endpoint: cached on disk, paced, asked again when it fails in passing.

An answer lies in `.retune/cache/api` under the SHA-256 of the endpoint's address and the whole request, so a killed run
asks only what is missing, and a repeated one asks nothing. The key comes from the environment and goes into the header
of the requests only: no file, log or error holds it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

from retune import atomic_file
from retune.errors import RetuneError
from retune.params import project_state
from retune.progress import bar
from retune.sources import retry

if TYPE_CHECKING:
    from retune.params import Params

log = logging.getLogger("retune")

OPEN, CLOSE = b"<think>", b"</think>"
"""The tags around thoughts."""
KEYS = ("RETUNE_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the key; the first that is set counts."""
PASSING = {408, 409, 425, 429}
"""Status codes that another attempt may mend, beside 500 and above."""
REFUSED = {400, 413, 422}
"""Status codes that say something against this one request: too long, filtered, an unknown field."""
BESIDE = 8
"""Tokens more than characters of a kept answer that show thoughts in it; old ones have their first token wrong."""
ENOUGH = 5
"""Refused requests before any answer, after which the fault is taken to lie in what they have in common."""


@dataclass(frozen=True)
class Reply:
    """An answer. `top`: (bytes in hexadecimal, log-probability) of the candidates for its first token, likeliest first.

    `refused` is what the endpoint said against the request, where it gave no answer. `cut`: max_tokens ended it.
    """

    text: str | None
    top: list[tuple[str, float]]
    prompt_tokens: int
    completion_tokens: int
    refused: str = ""
    cut: bool = False


def request(api: Params, system: str, user: str, **more: Any) -> dict[str, Any]:
    """The fields of a chat completion; `api.options` beat them, and a null among these takes a field out."""
    turns = [{"role": "system", "content": system}] if system else []
    fields = {
        "model": api.model,
        "messages": [*turns, {"role": "user", "content": user}],
        "max_tokens": api.max_tokens,
        "temperature": api.temperature,
    }
    return {name: value for name, value in (fields | more | api.options).items() if value is not None}


def ask(api: Params, requests: list[dict[str, Any]], section: str = "api") -> list[Reply]:
    """The reply to each request, in order; equal ones are asked once. `section` is where errors say that `api` stands.

    Raises `RetuneError` where the endpoint can't be reached, refuses the key, knows no such address or model, keeps
    failing, or refuses every request.
    """
    keys = [_digest(api.url, request) for request in requests]
    found = {key: reply for key in dict.fromkeys(keys) if (reply := _cached(key)) is not None}
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in found}
    if missing:
        log.info("%d of %d requests go to %s, the others are in %s", len(missing), len(set(keys)), api.url, folder())
        asyncio.run(_Session(api, found, section).run(missing))
    return [found[key] for key in keys]


def folder() -> Path:
    """Where the answers are kept."""
    return project_state() / "cache" / "api"


class _Session:
    """One run of requests; `found` takes their replies."""

    def __init__(self, api: Params, found: dict[str, Reply], section: str) -> None:
        self.api, self.found, self.section = api, found, section
        self.key = next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
        self.next_start = 0.0
        self.answered = any(not reply.refused for reply in found.values())
        self.reached = False
        self.refusals = 0

    async def run(self, missing: dict[str, dict[str, Any]]) -> None:
        """Ask everything, at most `api.concurrency` at a time."""
        client = openai.AsyncOpenAI(
            base_url=self.api.url, api_key=self.key or "none", max_retries=0, timeout=self.api.timeout
        )
        with bar(total=len(missing), desc="asking", unit="row") as done:
            ahead = iter(missing.items())
            workers = min(self.api.concurrency, len(missing))
            async with client:
                await asyncio.gather(*(self._work(client, ahead, done) for _ in range(workers)))
        if self.refusals:
            if not self.answered and self.refusals > 1:
                raise self._refusal(self.found[next(iter(missing))])
            log.warning("%s refused %d of %d requests; they have no answer", self.api.url, self.refusals, len(missing))

    async def _work(self, client: openai.AsyncOpenAI, ahead: Iterator[tuple[str, dict[str, Any]]], done: Any) -> None:
        for key, request in ahead:
            reply = await self._persist(client, request)
            self.found[key] = reply
            if not reply.refused:
                self.answered = True
            elif not about_logprobs(reply):
                self.refusals += 1
                if not self.answered and self.refusals >= ENOUGH:
                    raise self._refusal(reply)
            if not reply.refused or about_logprobs(reply):
                _keep(key, reply)
            done.update()

    async def _persist(self, client: openai.AsyncOpenAI, request: dict[str, Any]) -> Reply:
        """Repeat a request while it fails in passing."""
        for failure in range(1, self.api.retries + 2):
            await self._turn()
            try:
                completion = await client.chat.completions.create(**_fields(request))
                self.reached = True
                return self._reply(completion)
            except openai.APIStatusError as error:
                self.reached = True
                status, said = error.status_code, self._said(error)
                if status in REFUSED:
                    return Reply(None, [], 0, 0, refused=said)
                if status not in PASSING and status < 500:
                    raise self._lasting(status, said) from None
                asked = retry.asked(error.response.headers.get("Retry-After"))
                reason = f"status {status}, {said}"
            except openai.APITimeoutError:
                asked, reason = None, f"no answer within {self.api.timeout:g} s"
            except openai.APIConnectionError as error:
                if not self.reached:
                    raise self._unreachable(error) from None
                asked, reason = None, str(error.__cause__ or error)
            if failure > self.api.retries:
                break
            pause = retry.pause(failure, asked)
            log.warning(
                "%s: %s; again in %.0f s (retry %d of %d)", self.api.url, reason, pause, failure, self.api.retries
            )
            await asyncio.sleep(pause)
        raise RetuneError(
            f"{self.api.url} failed {self.api.retries + 1} times in a row ({reason}): run again later, it goes on "
            f"where it stopped; or lower concurrency and requests_per_minute of {self.section}, or raise its retries"
        )

    async def _turn(self) -> None:
        """Wait until the pace of `api.requests_per_minute` allows the next request."""
        if self.api.requests_per_minute is None:
            return
        clock = asyncio.get_running_loop().time
        start = max(clock(), self.next_start)
        self.next_start = start + 60.0 / self.api.requests_per_minute
        await asyncio.sleep(start - clock())

    def _reply(self, completion: Any) -> Reply:
        """What counts of a chat completion."""
        choices = getattr(completion, "choices", None)
        if not choices:
            raise RetuneError(
                f"{self.api.url} answers, but not with a chat completion: check {self.section}.url (most end with /v1)"
            )
        usage, logprobs, said = completion.usage, choices[0].logprobs, choices[0].message
        return Reply(
            said.content,
            _first_token(logprobs.content if logprobs else None, said.content, _thoughts(said)),
            (usage.prompt_tokens or 0) if usage else 0,
            (usage.completion_tokens or 0) if usage else 0,
            cut=choices[0].finish_reason == "length",
        )

    def _said(self, error: openai.APIStatusError) -> str:
        """The endpoint's message in one short line, never with the key."""
        body = error.body if isinstance(error.body, dict) else {}
        text = " ".join(str(body.get("message") or error.message).split())
        return (text.replace(self.key, "***") if self.key else text)[:300]

    def _refusal(self, reply: Reply) -> RetuneError:
        return RetuneError(f"{self.api.url} refuses the requests to `{self.api.model}`: {reply.refused}")

    def _lasting(self, status: int, said: str) -> RetuneError:
        if status in (401, 403):  # its message may show parts of the key
            named = next((name for name in KEYS if os.environ.get(name)), None)
            remedy = f"check {named}" if named else f"set {KEYS[0]}"
            return RetuneError(f"{self.api.url} refuses the key (status {status}): {remedy} in the environment")
        return RetuneError(
            f"{self.api.url} answers with status {status} ({said}): check {self.section}.url (most end with /v1) "
            f"and {self.section}.model `{self.api.model}`"
        )

    def _unreachable(self, error: openai.APIConnectionError) -> RetuneError:
        return RetuneError(
            f"{self.api.url} can't be reached ({error.__cause__ or error}): is the server running, and "
            f"{self.section}.url right?"
        )


def about_logprobs(reply: Reply) -> bool:
    """Whether a request was refused because it asked for log-probabilities."""
    return "logprob" in reply.refused.lower()


def _fields(request: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the client: what it doesn't know itself goes into the body as it is."""
    known = {"model", "messages"}
    return {name: request[name] for name in known} | {
        "extra_body": {name: value for name, value in request.items() if name not in known}
    }


def _first_token(tokens: list[Any] | None, content: str | None, thoughts: str) -> list[tuple[str, float]]:
    """The candidates for the first token of the answer that is neither blank nor a thought; none where it is not found.

    The tokens are all that the model wrote. Thoughts end with the last `</think>`; its template may have written the
    opening tag itself, and a reasoning parser may have taken `thoughts` out of the `content`.
    """
    tokens = tokens or []
    written = [_bytes(token) for token in tokens]
    stream = b"".join(written)
    start = stream.rfind(CLOSE) + len(CLOSE) if CLOSE in stream else 0
    if not start and stream.lstrip().startswith(OPEN):
        return []
    if not start and thoughts:  # between other tags
        answer = (content or "").strip().encode()
        start = stream.rfind(answer) if answer else len(stream)
    at = 0
    for token, piece in zip(tokens, written, strict=True):
        end = at + len(piece)
        if end > start and stream[max(at, start) : end].strip():
            if stream[at:start].strip():  # begins in the thoughts
                return []
            top = {_bytes(one).hex(): one.logprob for one in [*(token.top_logprobs or []), token]}
            return sorted(top.items(), key=lambda one: -one[1])
        at = end
    return []


def _thoughts(message: Any) -> str:
    """What a reasoning parser took out of an answer; the field has two names."""
    return str(getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None) or "")


def _bytes(token: Any) -> bytes:
    """A token's bytes; it may be a part of a character."""
    return bytes(token.bytes) if token.bytes else str(token.token).encode()


def _digest(url: str, request: dict[str, Any]) -> str:
    text = json.dumps([url, request], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _file(key: str) -> Path:
    return folder() / key[:2] / f"{key}.json"


def _cached(key: str) -> Reply | None:
    try:
        kept = json.loads(_file(key).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    text = kept["text"] or ""
    thinks = CLOSE.decode() in text or kept["completion_tokens"] > len(text) + BESIDE
    if "cut" not in kept and kept["top"] and thinks:
        return None
    return Reply(**kept | {"top": [(token, logprob) for token, logprob in kept["top"]]})


def _keep(key: str, reply: Reply) -> None:
    """Write an answer, whole or not at all."""
    file = _file(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file.replacing(file) as part:
        part.write_text(json.dumps(dataclasses.asdict(reply), ensure_ascii=False), encoding="utf-8")
