"""The command that shows models on a web page."""

from __future__ import annotations

from typing import Annotated

import typer

from retune.cli import loading
from retune.errors import RetuneError


def web(
    models: Annotated[list[str], typer.Argument(help="built models, exports/NAME, or of a revision: REV:models/NAME")],
    host: Annotated[str, typer.Option(help="the address to listen at; 0.0.0.0 is all of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = 7860,
    insecure: Annotated[bool, typer.Option("--insecure", help="let other machines ask without a token")] = False,
    max_file: Annotated[float, typer.Option(min=0.01, help="MiB of an uploaded file")] = 10.0,
    max_rows: Annotated[int, typer.Option(min=1, help="records of an uploaded file")] = 5000,
) -> None:
    """Show models on a web page, with the answers of `retune.load`; see docs/web.md.

    Passwords are the tokens of RETUNE_SERVE_TOKENS; without one only this machine may ask.

    Example: `retune web intent_encoder retrieval_reranker`
    """
    import logging
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise RetuneError("gradio is not installed: `pip install 'retune[web]'`")
    from retune.serve import access
    from retune.web import loaded, server
    from retune.web.files import Limits

    tokens = access.tokens()
    access.check(host, tokens, insecure)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    found = [loaded.of(loading.load(name)) for name in models]
    names = [one.model.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RetuneError(f"two models are named {twice}: show them on two pages, with a --port each")
    logging.getLogger("retune").setLevel(logging.ERROR)  # warnings about a file quote it
    server.serve(
        found, host, port, Limits(max_file, max_rows), tokens, insecure, lambda line: typer.echo(line, err=True)
    )
