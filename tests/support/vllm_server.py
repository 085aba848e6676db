"""A small server that answers as vLLM 0.33 does on /health, /v1/models and /v1/completions, from real tiny models.

What it checks, and the shape of its answers, are those of vllm/entrypoints/openai/completion/{protocol,serving}.py and
vllm/sampling_params.py. As a program (`vllm serve ...`, tests.support.vllm_server.program) it reads the options of the
command line and prints what it was given.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from tests.support import ROOT, warm_python

MOST_IDS = 128


class VllmServer:
    """`models`: name -> causal LM; `requests`: the bodies that came; `status`: of the next answers, where it is set."""

    def __init__(self, models: Mapping[str, Any], port: int = 0, key: str = "", length: int = 512) -> None:
        self.models, self.key, self.length = models, key, length
        self.requests: list[dict[str, Any]] = []
        self.status: int | None = None
        self.tells = True
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"owner": self}))
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @torch.inference_mode()
    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and answer of /v1/completions."""
        if self.status is not None:
            return self.status, {"error": {"message": f"no: {body['prompt']}"}}
        if body["model"] not in self.models:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        prompts, ids, count = body["prompt"], body.get("logprob_token_ids"), body.get("logprobs")
        if max(map(len, prompts)) + body["max_tokens"] > self.length:
            return 400, {"error": {"message": f"maximum context length is {self.length} tokens"}}
        if ids is not None and (len(ids) > MOST_IDS or count is None):
            return 400, {"error": {"message": "greater than max allowed", "param": "logprob_token_ids"}}
        return 200, {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [self._choice(body, row) for row in reversed(range(len(prompts)))],
            "usage": {"prompt_tokens": sum(map(len, prompts)), "total_tokens": 0, "completion_tokens": len(prompts)},
        }

    def _choice(self, body: dict[str, Any], row: int) -> dict[str, Any]:
        logits = self.models[body["model"]](input_ids=torch.tensor([body["prompt"][row]])).logits[0, -1].float()
        logs = logits.log_softmax(-1)  # --logprobs-mode raw_logprobs
        sampled = int(logs.argmax())
        ids = body["logprob_token_ids"] if self.tells else logs.topk(body["logprobs"]).indices.tolist()
        shown = {f"token_id:{token}": max(float(logs[token]), -9999.0) for token in [sampled, *ids]}
        first = f"token_id:{sampled}"
        logprobs = {"text_offset": [0], "token_logprobs": [shown[first]], "tokens": [first], "top_logprobs": [shown]}
        return {"index": row, "text": "x", "logprobs": logprobs, "finish_reason": "length", "stop_reason": None}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    owner: VllmServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {})
        elif self._allowed():
            self._send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.owner.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self._allowed():
            self.owner.requests.append(body)
            self._send(*self.owner.complete(body))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _allowed(self) -> bool:
        if self.owner.key and self.headers.get("authorization") != f"Bearer {self.owner.key}":
            self._send(401, {"error": "Unauthorized"})
            return False
        return True

    def _send(self, status: int, body: Any) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)


def program(folder: Path) -> Path:
    """A program `vllm` in a folder, for the PATH of a test."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vllm"
    file.write_text(
        f"#!/bin/sh\nPYTHONPATH={ROOT} exec {warm_python.folder()}/python -c "
        "'from tests.support import vllm_server; vllm_server.main()' \"$@\"\n",
        encoding="utf-8",
    )
    file.chmod(0o755)
    return file


def parser() -> argparse.ArgumentParser:
    """The options of `vllm serve` that are used here, from its arg_utils.py and cli_args.py (0.33)."""
    found = argparse.ArgumentParser(prog="vllm serve", allow_abbrev=False)
    found.add_argument("model_tag")
    for name in ("revision", "tokenizer", "chat-template", "host", "generation-config"):
        found.add_argument(f"--{name}")
    found.add_argument("--served-model-name", nargs="+")
    found.add_argument("--dtype", choices=["auto", "half", "float16", "bfloat16", "float", "float32"])
    for name in ("port", "max-model-len", "max-loras"):
        found.add_argument(f"--{name}", type=int)
    found.add_argument("--max-lora-rank", type=int, choices=[1, 8, 16, 32, 64, 128, 256, 320, 512])
    found.add_argument("--enable-lora", action="store_true")
    found.add_argument("--disable-uvicorn-access-log", action="store_true")
    found.add_argument("--lora-modules", nargs="+")
    return found


def main() -> None:
    """Serve what the command line says until SIGTERM; say both on stdout."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert sys.argv[1] == "serve"
    given = parser().parse_args(sys.argv[2:])
    print("vllm was given", json.dumps(sys.argv[1:]), flush=True)
    print("vllm is process", os.getpid(), flush=True)

    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(given.model_tag, dtype=getattr(torch, given.dtype)).eval()

    models = {name: base() for name in given.served_model_name}
    for module in given.lora_modules or []:
        name, _, place = module.partition("=")
        models[name] = PeftModel.from_pretrained(base(), place).eval()
    key = os.environ.get("VLLM_API_KEY", "")
    server = VllmServer(models, given.port, key, given.max_model_len)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.close()
    print("vllm ends", flush=True)


if __name__ == "__main__":
    main()
