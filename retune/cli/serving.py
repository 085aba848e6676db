"""The command that serves models over HTTP."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from retune.cli import completion, loading
from retune.errors import RetuneError


class Engine(StrEnum):
    """What computes the answers."""

    retune = "retune"
    vllm = "vllm"
    transformers = "transformers"


def serve(
    models: Annotated[
        list[str],
        typer.Argument(help="built models, or folders such as exports/NAME", autocompletion=completion.models),
    ],
    host: Annotated[str, typer.Option(help="the address to listen at; 0.0.0.0 is all of this machine")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="one for all models; default: embedders 8001, other rankings 8002, all else 8000"
        ),
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="let other machines ask without a token")] = False,
    max_batch: Annotated[int, typer.Option(min=1, help="texts, pairs or documents of one request")] = 256,
    max_body: Annotated[int, typer.Option(min=1024, help="bytes of one request")] = 4 * 2**20,
    max_tokens: Annotated[int, typer.Option(min=1, help="of one text; what a model can't read of it is cut")] = 8192,
    queue: Annotated[int, typer.Option(min=1, help="rows that may wait for a model; beyond that: 429")] = 1024,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds in which a request is answered")] = 60.0,
    batch_seconds: Annotated[
        float, typer.Option(min=0.001, help="about how long a batch may take: what a request waits for its own at most")
    ] = 2.0,
    access_log: Annotated[bool, typer.Option("--access-log", help="a line for each request, without texts")] = False,
    engine: Annotated[Engine, typer.Option(help="what computes: this process, or a server of exported LLMs")] = (
        Engine.retune
    ),
    engine_url: Annotated[str | None, typer.Option(help="an engine that runs already; default: one is started")] = None,
    engine_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="where the engine listens on this machine; default: a free one")
    ] = None,
    engine_args: Annotated[str, typer.Option(help="more options of the engine, in quotes")] = "",
    alone: Annotated[bool, typer.Option("--alone", help="the engine's own server, without the routes of Retune")] = (
        False
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the command line of the engine")] = False,
) -> None:
    """Serve models over HTTP, with the answers of `retune.load`; see docs/serve.md.

    Bearer tokens come from RETUNE_SERVE_TOKENS; without one only this machine may ask.

    Example: `retune serve intent_encoder --port 8000`
    """
    import logging

    try:
        from retune.serve import access, server
        from retune.serve.options import Options
    except ModuleNotFoundError as error:
        raise RetuneError(f"{error.name} is not installed: `pip install 'retune[serve]'`") from None

    tokens = access.tokens()
    access.check(host, tokens, insecure)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    options = Options(max_batch, max_body, max_tokens, queue, timeout, batch_seconds, access_log)
    if access_log:
        logging.getLogger("retune").setLevel(logging.INFO)
    if engine is not Engine.retune:
        from retune.cli import engines

        engines.start(
            engine, models, engines.Front(host, port, options, tokens, insecure),
            url=engine_url, engine_port=engine_port, more=engine_args, alone=alone, dry_run=dry_run,
        )  # fmt: skip
        return
    if engine_url or engine_port or engine_args or alone or dry_run:
        raise RetuneError("--engine-url, --engine-port, --engine-args, --alone and --dry-run need --engine")
    loaded = [loading.load(model) for model in models]
    names = [model.name for model in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RetuneError(f"two models are named {twice}: serve them in two processes, with a --port each")
    server.serve(loaded, host, port, options, tokens, lambda line: typer.echo(line, err=True))
