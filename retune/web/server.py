"""The process: the page in each language, its address, and an end without a traceback."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from retune.serve import listening
from retune.web.files import MIB, Limits
from retune.web.guard import Guard, told
from retune.web.results import TYPES, Results
from retune.web.words import LANGUAGES, preferred

if TYPE_CHECKING:
    from retune.web.loaded import Loaded

log = logging.getLogger("retune")

STYLE = Path(__file__).with_name("style.css")
GRACE = 3
"""Seconds in which an ending server still answers."""


def application(
    models: Sequence[Loaded], folder: Path, limits: Limits, tokens: Sequence[bytes] = (), anywhere: bool = False
) -> Guard:
    """What uvicorn runs: /en/ and /zh/, and / that leads to one of them; `folder` is for uploads and results."""
    _quiet(folder)
    import gradio as gr

    from retune.web import page

    results = Results(folder / "results")
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/")
    async def choose(request: Request) -> RedirectResponse:
        return RedirectResponse(f"./{preferred(request.headers.get('accept-language', ''))}/", 307)

    @app.get("/health")
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/manifest.json")
    async def manifest() -> JSONResponse:
        return JSONResponse({"name": "Retune", "display": "browser"})

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    @app.get("/results/{token}/{name}")
    def result(token: str, name: str) -> Response:
        form = name.rpartition(".")[2]
        if (found := results.find(token, form)) is None:
            return PlainTextResponse("this result is no longer kept\n", 404)
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return Response(found, media_type=TYPES[form], headers=headers)

    font = ["system-ui", "PingFang SC", "Noto Sans CJK SC", "Microsoft YaHei", "sans-serif"]
    for language in LANGUAGES:
        theme = gr.themes.Default(primary_hue="blue", font=font, font_mono=["ui-monospace", "monospace"])
        gr.mount_gradio_app(
            app, page.build(models, language, limits, results), f"/{language}", theme=theme,
            css=STYLE.read_text(encoding="utf-8"), js=_script(language), footer_links=[], run_history=False,
            show_error=False, max_file_size=int(limits.size * MIB), ssr_mode=False, enable_monitoring=False,
            pwa=False, mcp_server=False,
        )  # fmt: skip
    return Guard(app, tokens, anywhere, int(limits.size * MIB))


def _script(language: str) -> str:
    """Run when the page is there: its language, and what a screen reader tells by itself when it changes."""
    return (
        f"() => {{ document.documentElement.lang = '{language}'; "
        "const live = () => document.querySelectorAll('[id^=answer-], [id^=predicted-]').forEach("
        "one => one.ariaLive || one.setAttribute('aria-live', 'polite')); "
        "live(); new MutationObserver(live).observe(document.body, {childList: true, subtree: true}); }"
    )


def _quiet(folder: Path) -> None:
    """Before Gradio is imported: it tells nobody of its use, and keeps uploads in `folder`; its log has no texts."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from gradio import queueing

    def told_only() -> None:
        if error := sys.exception():
            log.error("%s", told(error))

    # Gradio prints the errors of an event, whose messages may hold what somebody typed.
    vars(queueing)["traceback"] = types.SimpleNamespace(print_exc=told_only)


def serve(
    models: Sequence[Loaded], host: str, port: int, limits: Limits, tokens: Sequence[bytes], anywhere: bool,
    say_where: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve the page until SIGTERM or SIGINT; what was uploaded and not yet removed goes with it.

    Raises `RetuneError` for an address that can't be taken.
    """
    with (
        tempfile.TemporaryDirectory(prefix="retune-web-") as folder,
        contextlib.closing(listening.bound(host, port)) as taken,
    ):
        app = application(models, Path(folder), limits, tokens, anywhere)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=GRACE
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it tells of cancelled streams, and texts
        listening.Server(config, lambda: say_where(listening.url(taken))).run([taken])
