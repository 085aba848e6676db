"""`retune serve --engine vllm|transformers`: the command line of the engine, and our routes in front of it."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from retune.cli import loading
from retune.errors import RetuneError

if TYPE_CHECKING:
    from retune.engines.endpoint import Endpoint
    from retune.engines.export import Export
    from retune.inference import Model
    from retune.serve.options import Options

TOKEN = "RETUNE_ENGINE_TOKEN"
"""The environment's variable with the token of an engine at --engine-url."""
LOOPBACK = "127.0.0.1"


def folder(model: str) -> Path:
    """The export that a word names: a path as it is, or the name of one of the project's."""
    named = Path("exports") / model
    return named if len(Path(model).parts) == 1 and named.is_dir() else Path(loading.place(model))


@dataclass(frozen=True)
class Front:
    """Where our routes listen, and who may ask there (the options of `retune serve`)."""

    host: str
    port: int | None
    options: Options
    tokens: list[bytes]
    insecure: bool


def start(
    engine: str,
    models: list[str],
    front: Front,
    *,
    url: str | None,
    engine_port: int | None,
    more: str,
    alone: bool,
    dry_run: bool,
) -> None:
    """Serve exports by an engine: its own server at a loopback address behind our routes, or `alone`.

    With `url` the engine is there already, and only our routes are started. Raises `RetuneError` for what can't be
    served so.
    """
    from retune.engines import export
    from retune.engines.endpoint import Endpoint

    if twice := next((one for one in models if models.count(one) > 1), None):
        raise RetuneError(f"{twice} is named twice")
    exports = [export.read(folder(model)) for model in models]
    names = [one.name for one in exports]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RetuneError(f"two models are named {twice}: serve them in two processes, with a --port each")
    if alone:
        if url:
            raise RetuneError("--alone starts the engine itself: leave --engine-url out")
        _exec(engine, exports, front, more, dry_run)
        return
    at = LOOPBACK, engine_port or (8000 if dry_run else _free_port())
    if dry_run:
        _say_dry(engine, exports, url, at, more)
        return
    if url:
        _serve(engine, exports, Endpoint(url, os.environ.get(TOKEN, ""), front.options.timeout), front)
        return
    _loaded(engine, exports, None)  # what our routes can't ask it is told before it starts
    token = front.tokens[0].decode() if front.tokens else ""
    with _running(engine, exports, at, more, token) as process:
        found = Endpoint(f"http://{LOOPBACK}:{at[1]}", token, front.options.timeout)
        found.wait(process.alive)
        typer.echo(f"{engine}: http://{LOOPBACK}:{at[1]}, its own API", err=True)
        failed = []

        def died() -> None:
            failed.append(process.process.returncode)
            os.kill(os.getpid(), signal.SIGTERM)

        process.watch(died)
        _serve(engine, exports, found, front)
    if failed:
        raise RetuneError(f"{engine} ended with code {failed[0]}: its own lines above say why")


def command(engine: str, exports: list[Export], host: str, port: int, more: str) -> list[str]:
    """The command line of an engine; `more` are options of its own, which come last and win."""
    from retune.engines import vllm

    words = vllm.command(exports, host, port) if engine == "vllm" else _transformers(exports, host, port)
    try:
        return [*words, *shlex.split(more)]
    except ValueError as error:
        raise RetuneError(f"--engine-args can't be split into words ({error}): close its quotes") from None


def _transformers(exports: list[Export], host: str, port: int) -> list[str]:
    from retune.engines import transformers_serve
    from retune.training import hardware

    chosen = hardware.choose(exports[0].card.spec.hardware)
    return transformers_serve.command(exports, host, port, chosen.dtype_name)


def _environment(engine: str, token: str) -> dict[str, str]:
    from retune.engines import transformers_serve, vllm

    if engine != "vllm":
        return transformers_serve.environment()
    return vllm.environment() | ({vllm.TOKEN: token} if token else {})


def _program(engine: str) -> str:
    from retune.engines import process, transformers_serve, vllm

    return process.program(engine, vllm.INSTALL if engine == "vllm" else transformers_serve.INSTALL)


def _exec(engine: str, exports: list[Export], front: Front, more: str, dry_run: bool) -> None:
    """Become the engine: signals reach it, and its end is ours."""
    from retune.serve import access

    if engine == "transformers" and front.tokens:
        raise RetuneError("`transformers serve` reads no token: unset RETUNE_SERVE_TOKENS, or leave --alone out")
    if len(front.tokens) > 1:
        raise RetuneError("vLLM takes one token from its environment: leave one in RETUNE_SERVE_TOKENS")
    if not front.insecure and not access.is_loopback(front.host):
        raise RetuneError(
            f"--host {front.host} is reached from other machines, and {engine} alone has routes that ask for no token: "
            "leave --alone out, or give --insecure"
        )
    words = command(engine, exports, front.host, 8000 if front.port is None else front.port, more)
    environment = _environment(engine, front.tokens[0].decode() if front.tokens else "")
    if dry_run:
        typer.echo(_shown(words, environment))
        return
    os.execve(_program(engine), words, {**os.environ, **environment})


@contextmanager
def _running(engine: str, exports: list[Export], at: tuple[str, int], more: str, token: str) -> Iterator[Any]:
    from retune.engines import process
    from retune.pipeline.processes import with_parent

    words = command(engine, exports, *at, more)
    with process.running(with_parent([_program(engine), *words[1:]]), _environment(engine, token)) as found:
        yield found


def _loaded(engine: str, exports: list[Export], endpoint: Any) -> list[Model]:
    """The models, each with the engine in the place of its weights."""
    from retune.engines.transformers_serve import Decisions
    from retune.engines.vllm import Vllm
    from retune.inference import Model

    found = []
    for one in exports:
        predictor: Any = (Vllm if engine == "vllm" else Decisions)(one, endpoint)
        fitted = dict(one.card.calibration) | ({} if engine == "vllm" else {"temperature": 1.0})
        found.append(Model(one.name, one.card.spec, predictor, fitted, one.folder))
    return found


def _serve(engine: str, exports: list[Export], endpoint: Endpoint, front: Front) -> None:
    """Our routes, until they are told to end."""
    from retune.serve import server

    endpoint.wait()
    if engine == "vllm" and (missing := {one.name for one in exports} - set(served := endpoint.models())):
        raise RetuneError(f"{endpoint.url} does not serve {', '.join(sorted(missing))}, but {', '.join(served)}")
    models = _loaded(engine, exports, endpoint)
    server.serve(models, front.host, front.port, front.options, front.tokens, lambda line: typer.echo(line, err=True))
    endpoint.close()


def _say_dry(engine: str, exports: list[Export], url: str | None, at: tuple[str, int], more: str) -> None:
    if url:
        raise RetuneError("--dry-run prints the engine's command line, and --engine-url starts none: leave one out")
    typer.echo(_shown(command(engine, exports, *at, more), _environment(engine, "")))


def _shown(words: list[str], environment: dict[str, str]) -> str:
    """The command line as a shell takes it, a token by the name of its variable."""
    from retune.engines import vllm

    shown = {name: '"$RETUNE_SERVE_TOKENS"' if name == vllm.TOKEN else value for name, value in environment.items()}
    return " ".join([*(f"{name}={value}" for name, value in shown.items()), shlex.join(words)])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])
