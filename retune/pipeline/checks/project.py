"""What one file can't show by itself: names that must exist elsewhere and combinations that can't work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from retune.errors import unknown
from retune.pipeline import effective, kind_constants
from retune.pipeline.checks import abstention, augmentation, export, scoring, seeds, teachers
from retune.pipeline.checks import model as model_checks
from retune.pipeline.declarations import DATA, MODELS, Project, mapping
from retune.pipeline.yaml_file import Document

NEEDED = {
    "none": (),
    "sample": ("generator",),
    "path": ("path",),
    "url": ("url", "sha256"),
    "wheel": ("wheels",),
    "huggingface": ("repo", "revision"),
    "modelscope": ("repo", "revision"),
}
"""Kind of a source or checkpoint -> the fields that it can't do without."""

ALLOWED = {"huggingface": ("files",), "modelscope": ("files",), "wheel": ("format", "sha256")}
"""Kind -> further fields that it reads. The fields of other kinds are errors."""

NAMED = 10
"""Labels that a message names."""

FEWEST, MOST = 2, 200
"""Labels of a task; an LLM weighs each of them as an answer."""

OF_KINDS = {"generator", "path", "url", "sha256", "repo", "revision", "files", "wheels", "format"}

RESERVED = {"bases": "the folder of the pretrained checkpoints"}
"""Names that no model can have, and what stands under them in models/."""

PLACEHOLDER = re.compile(r"\{(\w+)\}")
COMMIT = re.compile(r"[0-9a-f]{40}")


def check(project: Project, resolved: dict[str, Any]) -> None:
    """Note in the documents what does not fit together."""
    _check_catalog(project, project.documents[DATA])
    _check_catalog(project, project.documents[MODELS])
    for role, name in project.bases.items():
        if name not in project.raw(MODELS) and project.documents[MODELS].data is not None:
            text = unknown("checkpoint", name, project.raw(MODELS), f" in {MODELS}")
            project.params.problem(("bases", role), text)
    for name in project.tasks:
        _check_task(project, name)
        augmentation.check(project, name, resolved["tasks"][name])
        abstention.check(project, name)
    for name, model in project.models.items():
        if name in RESERVED:
            project.params.problem(("models", name), f"models/{name} is {RESERVED[name]}; take another name")
        model_checks.check(project, name, model, resolved["models"][name])
    seeds.check(project, resolved)
    teachers.check(project, resolved)
    for name in project.exports:
        export.check(project, name, resolved)
    for name in project.gate:
        if name not in project.tasks:
            project.params.problem(("gate", name), unknown("task", name, project.tasks))


def warnings(project: Project, resolved: dict[str, Any]) -> list[str]:
    """What is allowed and still deserves a look."""
    lines = []
    place = project.params.place
    if not project.strict:
        lines.append(f"{place(('strict',))}: strict is off: what a stage uses and does not declare makes nothing stale")
    for name, task in resolved["tasks"].items():
        models = [resolved["models"][model] for model in task["models"]]
        if not any(model["learner"] == "linear" for model in models):
            lines.append(f"{place(('tasks', name))}: tasks.{name} has no `linear` model to compare the others with")
        if not any(model.get("training", {}).get("epochs") == 0 for model in models):
            lines.append(f"{place(('tasks', name))}: tasks.{name} has no untuned model (`training: {{epochs: 0}}`)")
    for name, model in resolved["models"].items():
        task = resolved["tasks"].get(model["task"])
        if task and not model["augmented"] and not augmentation.adds(task):
            where = place(("models", name, "augmented"))
            lines.append(f"{where}: models.{name} leaves augmented rows out, but tasks.{model['task']} adds none")
        for section in ("training", "linear", "lora", "quantization", "loss", "ranking_loss", "hardware"):
            for key in effective.idle(model, section, project.said("models", name, section)):
                where = place(("models", name, section, key))
                lines.append(f"{where}: models.{name}.{section}.{key} has no effect beside the model's other settings")
    used = {model["base"] for model in resolved["models"].values()}
    for role in resolved["bases"].keys() - used:
        lines.append(f"{place(('bases', role))}: bases.{role} is fetched, but no model uses it")
    for task in project.tasks.values():
        prompt, known = (
            project.prompts.get(task.prompt or ""),
            kind_constants.constants(project, task.kind).get("TEXTS", ()),
        )
        for field in PLACEHOLDER.findall(prompt.user) if prompt else ():
            if field not in known:
                where = project.documents[f"prompts/{task.prompt}.yaml"].place(("user",))
                text = unknown("column", field, known, f" that kind {task.kind} shows")
                lines.append(f"{where}: `{{{field}}}` stays in the prompt as it is: {text}")
    entries = [(DATA, task["source"]) for task in resolved["tasks"].values()]
    entries += [(MODELS, base) for base in resolved["bases"].values()]
    for catalog, entry in entries:
        if "repo" in entry and not COMMIT.fullmatch(entry["revision"]):
            where = project.documents[catalog].place((entry["name"], "revision"))
            lines.append(
                f"{where}: {entry['name']} follows `{entry['revision']}` of {entry['repo']}, which can change under the"
                f" same name; `retune pin {entry['name']}` writes its commit here"
            )
    return sorted(dict.fromkeys(lines))


def _check_catalog(project: Project, document: Document) -> None:
    for name, entry in project.raw(document.path).items():
        kind = mapping(entry).get("kind")
        if not isinstance(kind, str) or kind not in NEEDED:
            continue  # said by the schema
        said = {key for key, value in entry.items() if value is not None}
        for key in NEEDED[kind]:
            if key not in said:
                document.problem((name,), f"a {kind} entry needs `{key}`")
        for key in sorted(said & OF_KINDS - {*NEEDED[kind], *ALLOWED.get(kind, ())}):
            document.problem((name, key), f"is not read by a {kind} entry; take it out, or change `kind`")
        if kind == "sample" and isinstance(generator := entry.get("generator"), str):
            known = sorted(f.stem for f in (project.folder / "retune/sources/samples").glob("[!_]*.py"))
            if generator not in known:
                document.problem((name, "generator"), unknown("module", generator, known, " in retune/sources/samples"))


def _check_task(project: Project, name: str) -> None:
    task, problem = project.tasks[name], project.params.problem
    at = ("tasks", name)
    source = project.sources.get(task.source)
    if task.source not in project.raw(DATA):
        if project.documents[DATA].data is not None:
            problem((*at, "source"), unknown("source", task.source, project.raw(DATA), f" in {DATA}"))
    elif source and task.size is not None and source.kind != "sample":
        problem((*at, "size"), f"only a sample has a size, and {task.source} is a {source.kind} source; take it out")
    shape = kind_constants.constants(project, task.kind)
    if source:
        _check_columns(project, task.source, task.kind, shape)
    _check_labels(project, name)
    _check_kind(project, name, shape)
    _check_chains(project, name)
    scoring.check(project, name)
    if task.prompt is None:
        return
    path = f"prompts/{task.prompt}.yaml"
    if path not in project.documents:
        known = [p[len("prompts/") : -len(".yaml")] for p in project.documents if p.startswith("prompts/")]
        problem((*at, "prompt"), unknown("prompt", task.prompt, known, " in prompts/"))
    elif prompt := project.prompts.get(task.prompt):
        labels = task.labels or shape.get("LABELS") or scoring.scores(task)
        _check_prompt(project.documents[path], prompt.user, prompt.answers, labels, name, shape)


def _check_labels(project: Project, name: str) -> None:
    task, at = project.tasks[name], ("tasks", name, "labels")
    if task.kind != "classification":
        if task.labels is not None:
            project.params.problem(at, f"kind {task.kind} has no labels of its own; take it out")
        return
    if task.labels is None:
        text = f"kind classification needs `labels`, a list of {FEWEST} to {MOST} different texts"
        if project.said("tasks", name).get("labels") is None:  # else the schema has said what is wrong with them
            project.params.problem(at[:-1], text)
        return
    if not FEWEST <= len(task.labels) <= MOST:
        remedy = (
            f"merge the rare ones, by a `map` of `columns.label` in {DATA}"
            if len(task.labels) > MOST
            else "name the others"
        )
        text = f"has {len(task.labels):,} labels, but {FEWEST} to {MOST} are possible; {remedy}"
        project.params.problem(at, text)
        return
    for place, label in enumerate(task.labels):
        if not label.strip() or label != label.strip():
            project.params.problem((*at, str(place)), f"`{label}` is empty or has white space at an end")
        elif label in task.labels[:place]:
            project.params.problem((*at, str(place)), f"`{label}` occurs twice; a label stands once")


def _check_kind(project: Project, name: str, shape: dict[str, Any]) -> None:
    """Settings that a task itself makes and that have no meaning for its kind; a default section is for all kinds."""
    task, problem = project.tasks[name], project.params.problem
    for section, without in shape.get("WITHOUT", {}).items():
        for key in getattr(task, section):
            if without is None or key in without:
                problem(("tasks", name, section, key), f"has no meaning for a task of kind {task.kind}; take it out")
    if task.exploration and shape.get("TARGET", "label") != "label":
        text = f"looks for wrong labels, and a task of kind {task.kind} has none; take it out"
        problem(("tasks", name, "exploration"), text)


def _check_chains(project: Project, name: str) -> None:
    task, problem = project.tasks[name], project.params.problem
    models = [model for model, spec in project.models.items() if spec.task == name]
    for chain, pair in task.chains.items():
        at = ("tasks", name, "chains", chain)
        if task.kind != "ranking":
            problem(at, f"only tasks of kind ranking have chains, and {name} is of kind {task.kind}; take it out")
        if chain in project.models:
            problem(at, "is the name of a model, too; give the chain another one")
        for key in ("first", "second"):
            if (model := getattr(pair, key)) not in models:
                problem((*at, key), unknown("model", model, models, f" of task {name}"))
        if pair.first == pair.second:
            problem((*at, "second"), f"is {pair.second}, like `first`; a chain needs two models")


def _check_prompt(
    document: Document,
    user: str,
    answers: dict[str, str] | None,
    labels: Sequence[str] | None,
    task: str,
    shape: dict[str, Any],
) -> None:
    if answers is None and "LABELS" in shape:
        document.problem(("answers",), f"is missing; task {task} needs an answer for {', '.join(shape['LABELS'])}")
    answers = answers or {}
    if answers and labels and sorted(answers) != sorted(labels):
        odd = [f"`{label}`" for label in answers if label not in labels]
        lost = [f"`{label}`" for label in labels if label not in answers]
        said = [f"{what} {_some(found)}" for what, found in (("lacks", lost), ("has the unknown", odd)) if found]
        document.problem(("answers",), f"{' and '.join(said)}, unlike the labels of task {task}")
    texts = [text.strip() for text in answers.values()]
    for label, text in answers.items():
        if not text.strip():
            document.problem(("answers", label), "is empty, so the LLM can't answer with it")
        elif texts.count(text.strip()) > 1:
            document.problem(("answers", label), f"`{text}` is the answer of more than one label; make them differ")
    for column in shape.get("TEXTS", ()):
        if f"{{{column}}}" not in user:
            document.problem(("user",), f"does not contain {{{column}}}, so the LLM would not see it")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _check_columns(project: Project, name: str, kind: str, shape: dict[str, Any]) -> None:
    """The columns that a source maps must be the task kind's."""
    document = project.documents[DATA]
    known = shape.get("COLUMNS", ())
    for number, table in enumerate(project.sources[name].tables):
        at = (name, "tables", str(number), "columns")
        for column in table.columns:
            if known and column not in known:
                document.problem((*at, column), unknown("column", column, known, f" of kind {kind}"))
        for column in (*shape.get("TEXTS", ()), shape.get("TARGET", "label")):
            if column not in table.columns:
                document.problem(at, f"has no `{column}`, which kind {kind} needs")
    for number, table in enumerate(project.sources[name].unlabelled or []):
        at = (name, "unlabelled", str(number), "columns")
        texts = shape.get("TEXTS", ())
        for column in table.columns:
            if texts and column not in texts:
                document.problem((*at, column), unknown("column", column, texts, " of rows without a label"))
        for column in texts:
            if column not in table.columns and column != "dimension":  # else each row counts in all of them
                document.problem(at, f"has no `{column}`, which kind {kind} needs")
        for key in ("split", "join"):
            if getattr(table, key):
                text = (
                    "is for rows with labels; take it out" if key == "split" else "is not read here; join them before"
                )
                document.problem((name, "unlabelled", str(number), key), text)
