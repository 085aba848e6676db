"""The page in one language: a model is chosen, its form asks one input or a file, the answer stands below."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from markupsafe import Markup

from retune.errors import RetuneError
from retune.web import asking, files, fragments
from retune.web.files import Limits
from retune.web.guard import told
from retune.web.loaded import Loaded, groups
from retune.web.results import Results
from retune.web.words import LANGUAGES, say

log = logging.getLogger("retune")

FORMATS = [".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx"]
WAITING = 32
"""Requests that wait at a time; the next one is told to come again."""
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
ASKING: dict[str, Any] = {"api_visibility": "private", "show_progress": "full", "trigger_mode": "once"}


@dataclass(frozen=True)
class Form:
    """The inputs that some models share; `model` and `wanted` are the components that choose a model, and dimensions.

    `columns`: those of the texts; `number`: of the form on its page.
    """

    models: dict[str, Loaded]
    columns: list[str]
    number: int
    language: str
    limits: Limits
    results: Results
    model: Any
    wanted: Any

    @property
    def first(self) -> Loaded:
        """The model that it shows at first."""
        return next(iter(self.models.values()))

    def say(self, key: str, **values: Any) -> str:
        """A text of the page."""
        return say(self.language, key, **values)


def build(models: Sequence[Loaded], language: str, limits: Limits, results: Results) -> gr.Blocks:
    """The page of some models: one is chosen above; those that one form can ask share it."""
    found = groups(models)
    with gr.Blocks(
        title=f"{say(language, 'title')} · Retune", analytics_enabled=False, delete_cache=(600, 3600)
    ) as blocks:
        gr.HTML(_head(language, models), elem_id="head")
        choices = [(f"{one.model.name} · {one.model.spec.task}", one.model.name) for one in models]
        label = say(language, "model")
        model = gr.Dropdown(choices, value=models[0].model.name, label=label, visible=len(models) > 1, elem_id="model")
        forms = []
        for number, group in enumerate(found):
            with gr.Column(visible=models[0] in group) as form:
                _form(group, number, language, limits, results, model)
            forms.append(form)

        def show(name: str) -> list[Any]:
            return [gr.Column(visible=any(one.model.name == name for one in group)) for group in found]

        if len(found) > 1:
            model.input(show, model, forms, queue=False, **EVENT)
    blocks.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)
    return blocks


def _head(language: str, models: Sequence[Loaded]) -> Markup:
    others = fragments.joined(
        Markup('<a href="../{0}/" lang="{0}" hreflang="{0}">{1}</a>').format(code, name)
        for code, name in LANGUAGES.items()
        if code != language
    )
    only = Markup('<p class="note">{} · {}</p>').format(models[0].model.name, models[0].model.spec.task)
    return Markup('<header><h1>{}</h1><nav aria-label="{}">{}</nav></header>{}').format(
        say(language, "title"), say(language, "language"), others, only if len(models) == 1 else ""
    )


def _form(group: Sequence[Loaded], number: int, language: str, limits: Limits, results: Results, model: Any) -> None:
    """The inputs of a group: for one input, and for a file."""
    first = group[0]
    named = {one.model.name: one for one in group}
    columns = [name for name in first.model.texts if name != "dimension"]
    chosen = first.dimensions
    wanted = gr.CheckboxGroup(chosen, value=chosen, label=say(language, "dimensions"), visible=bool(chosen))
    form = Form(named, columns, number, language, limits, results, model, wanted)
    with gr.Tabs():
        with gr.Tab(form.say("one")):
            _one(form)
        with gr.Tab(form.say("file")):
            _file(form)


def _one(form: Form) -> None:
    """One input, and what comes of it."""
    first = form.first
    texts = [_text(first, name, form.language) for name in form.columns]
    if first.examples:
        choices = [(_short(row[form.columns[0]]), place) for place, row in enumerate(first.examples)]
        example = gr.Dropdown(choices, value=None, label=form.say("example"), filterable=False)
        example.input(_examples(first, form.columns), example, texts, queue=False, **EVENT)
    verb = {"ranking": "rank", "scoring": "assess"}.get(first.kind, "ask")
    button = gr.Button(form.say(verb), variant="primary", elem_id=f"ask-{form.number}")
    shown = gr.HTML("", elem_id=f"answer-{form.number}", elem_classes="result", min_height=90)
    chance = gr.State(None, time_to_live=3600)

    def ask(name: str, dimensions: list[str], *given: str) -> tuple[str, float | None]:
        one = form.models[name]
        found = asking.ask(one, dict(zip(form.columns, given, strict=True)), dimensions, form.language)
        links = form.results.keep(found.lines, one.model.name, typed=True)
        return str(found.html + fragments.downloads(form.language, links)), found.chance

    asked = button.click(_safely(ask, form.language, 2), [form.model, form.wanted, *texts], [shown, chance], **ASKING)
    if first.threshold is not None:
        _threshold(form, asked, chance, shown)


def _threshold(form: Form, asked: Any, chance: Any, shown: Any) -> None:
    """A slider, and what its threshold answers to the last input."""
    first, language = form.first, form.language
    with gr.Accordion(form.say("threshold_head"), open=True, elem_id=f"threshold-{form.number}"):
        label = form.say("threshold", label=first.labels[1])
        rest = asking.resting(first)
        slider = gr.Slider(0, 1, rest, step=asking.STEP, label=label, elem_id=f"slider-{form.number}")
        effect = gr.HTML(str(asking.threshold(first, None, 0, language)), elem_classes="result")

    def moved(name: str, found: float | None, at: float) -> tuple[str]:
        return (str(asking.threshold(form.models[name], found, at, language)),)

    def chosen(name: str) -> Any:
        if name not in form.models:
            return [gr.skip()] * 4
        return asking.resting(form.models[name]), None, "", str(asking.threshold(form.models[name], None, 0, language))

    inputs = [form.model, chance, slider]
    asked.then(_safely(moved, language, 1), inputs, effect, queue=False, **EVENT)
    slider.input(_safely(moved, language, 1), inputs, effect, queue=False, trigger_mode="always_last", **EVENT)
    form.model.input(chosen, form.model, [slider, chance, shown, effect], queue=False, **EVENT)


def _file(form: Form) -> None:
    """A file, and what is predicted of it."""
    number, example = form.number, form.say("columns_hint", column=form.columns[0])
    upload = gr.File(label=form.say("upload"), file_types=FORMATS, height=140, elem_id=f"upload-{number}")
    names = gr.Textbox("", label=form.say("columns"), placeholder=example, max_lines=1)
    button = gr.Button(form.say("run_file"), variant="primary", elem_id=f"predict-{number}")
    shown = gr.HTML("", elem_id=f"predicted-{number}", elem_classes="result", min_height=90)

    def predict(name: str, dimensions: list[str], file: str | None, given: str) -> tuple[str, None]:
        one = form.models[name]
        return str(files.predict(one, file, given or "", dimensions, form.limits, form.results, form.language)), None

    inputs = [form.model, form.wanted, upload, names]
    button.click(_safely(predict, form.language, 2), inputs, [shown, upload], **ASKING)


def _text(first: Loaded, name: str, language: str) -> gr.Textbox:
    """The box of a text column."""
    documents = first.kind == "ranking" and name == "document"
    lines = {"document": 6, "query": 1}.get(name, 2)
    label = say(language, "documents" if documents else name)
    return gr.Textbox("", label=label, lines=lines, max_lines=12, max_length=asking.LONGEST, html_attributes=_PLAIN)


_PLAIN = gr.InputHTMLAttributes(autocorrect="off", spellcheck=False)


def _examples(first: Loaded, columns: Sequence[str]) -> Callable[[int | None], Any]:
    def fill(place: int | None) -> Any:
        row = first.examples[place] if place is not None else dict.fromkeys(columns, "")
        found = [row[name] for name in columns]
        return found if len(found) > 1 else found[0]

    return fill


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def _safely(function: Callable[..., tuple[Any, ...]], language: str, outputs: int) -> Callable[..., Any]:
    """What an event does: an error that the user can mend is a sentence in the first output, the others are empty."""

    def event(*given: Any) -> Any:
        try:
            found = function(*given)
        except RetuneError as error:
            found = (str(fragments.failure(language, str(error))), *[None] * (outputs - 1))
        except Exception as error:  # its message may hold a user's text
            log.error("%s", told(error))
            found = (str(fragments.failure(language, say(language, "failed"))), *[None] * (outputs - 1))
        return found if outputs > 1 else found[0]

    return event
