"""A small OpenAI-compatible server over a base folder: real answers and log-probabilities, and faults on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

KEY = "sk-secret-of-the-test"


class ChatServer:
    """Answers POST /v1/chat/completions; `faults` are taken before answers, one each."""

    path = "/v1/chat/completions"

    def __init__(self, folder: Path | None, offers_logprobs: bool | None = True) -> None:
        if folder:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.offers_logprobs = offers_logprobs  # False: the field is ignored; None: it is refused
        self.faults: list[Callable[[Handler, dict[str, Any]], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.starts: list[float] = []
        self.delay = 0.0
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"chat": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.shutdown()
        self.server.server_close()

    @torch.inference_mode()
    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Greedy, one token after the other, each with its likeliest candidates."""
        ids = self.tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True, return_dict=False)
        prompt, tokens, logprobs = len(ids), [], []
        while len(tokens) < request["max_tokens"]:
            scores = self.model(torch.tensor([[*ids, *tokens]])).logits[0, -1].log_softmax(-1)
            best = scores.topk(request.get("top_logprobs", 1))
            if best.indices[0] == self.tokenizer.eos_token_id:
                break
            tokens.append(int(best.indices[0]))
            top = [self.entry(int(i), float(v)) for i, v in zip(best.indices, best.values, strict=True)]
            logprobs.append({**top[0], "top_logprobs": top})
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": self.tokenizer.decode(tokens, skip_special_tokens=True)},
            "logprobs": {"content": logprobs} if request.get("logprobs") and self.offers_logprobs else None,
        }
        usage = {"prompt_tokens": prompt, "completion_tokens": len(tokens), "total_tokens": prompt + len(tokens)}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]} | {
            "usage": usage
        }

    def entry(self, token: int, logprob: float) -> dict[str, Any]:
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
        piece = self.tokenizer.convert_ids_to_tokens(token)
        spelled = [byte_of[c] for c in piece] if all(c in byte_of for c in piece) else list(piece.encode())
        return {"token": self.tokenizer.decode([token]), "bytes": spelled, "logprob": logprob}


class ScriptedServer(ChatServer):
    """Answers what a function makes of the user's message; no model is behind it."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__(None)
        self.answer = answer

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.answer(request["messages"][-1]["content"])}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice]} | {
            "usage": usage
        }


class DecisionServer(ChatServer):
    """Answers POST /v1/systemone as `transformers serve` does: transformers' own pipeline over a decision model."""

    path = "/v1/systemone"

    def __init__(self, folder: Path) -> None:
        from transformers import pipeline

        super().__init__(folder)
        self.decide = pipeline("decision", model=self.model, tokenizer=self.tokenizer)

    @torch.inference_mode()
    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request.keys() <= {"model", "state", "questions", "assets"}, "others are refused there"
        inputs = self.decide.preprocess({"state": request["state"], "questions": request["questions"]})
        answers = self.decide.postprocess(self.decide.forward(inputs))
        read = sum(prompt["input_ids"].shape[-1] for prompt, _ in inputs["prompts"])
        return {"model": request["model"], "answers": answers, "usage": {"input_tokens": read, "output_tokens": 0}}


class Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def do_POST(self) -> None:
        chat = self.chat
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with chat.lock:
            chat.requests.append(request)
            chat.starts.append(time.monotonic())
            chat.under_way += 1
            self.counted = 1
            chat.most_under_way = max(chat.most_under_way, chat.under_way)
            fault = chat.faults.pop(0) if chat.faults else None
        try:
            time.sleep(chat.delay)
            if self.path != chat.path:
                self.send(404, {"error": {"message": "no such page"}})
            elif self.headers["Authorization"] != f"Bearer {KEY}":
                self.send(401, {"error": {"message": f"Incorrect API key: {self.headers['Authorization']}"}})
            elif fault:
                fault(self, request)
            elif request.get("logprobs") and chat.offers_logprobs is None:
                self.send(400, {"error": {"message": "`logprobs` is not supported by this model"}})
            else:
                with chat.lock:
                    try:
                        status, answer = 200, chat.complete(request)
                    except ValueError as error:  # as of a template that refuses a question
                        status, answer = 400, {"detail": str(error)}
                self.send(status, answer)
        finally:
            self.end()

    def end(self) -> None:
        """Count the request as answered, once: before the client can read the answer and ask again."""
        with self.chat.lock:
            self.chat.under_way -= self.counted
            self.counted = 0

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.end()
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (
            {"Content-Length": str(len(body)), "Content-Type": "application/json"} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep the test output clean."""


def busy(status: int, retry_after: str | None = None) -> Callable[[Handler, dict[str, Any]], None]:
    """Refuse for now."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return lambda handler, _: handler.send(status, {"error": {"message": f"busy, {KEY}"}}, headers)


def refused(handler: Handler, _: dict[str, Any]) -> None:
    """Refuse this request for good."""
    handler.send(400, {"error": {"message": f"content filter, {KEY}"}})


def saying(text: str, keep: bool = False) -> Callable[[Handler, dict[str, Any]], None]:
    """Answer with a text of its own; with `keep` beside the model's log-probabilities."""

    def answer(handler: Handler, request: dict[str, Any]) -> None:
        with handler.chat.lock:
            completion = handler.chat.complete(request)
        choice = completion["choices"][0]
        choice |= {"message": {"role": "assistant", "content": text}, "logprobs": choice["logprobs"] if keep else None}
        handler.send(200, completion)

    return answer
