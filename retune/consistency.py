"""What one file can't show by itself: names that must exist elsewhere and combinations that can't work."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from retune import rows_consistency
from retune.project import DATA, MODELS, Project, mapping
from retune.schema import RANKING, SECTIONS, Model, sections
from retune.validation import unknown
from retune.yaml_file import Document

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

OF_KINDS = {"generator", "path", "url", "sha256", "repo", "revision", "files", "wheels", "format"}

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
        rows_consistency.check(project, name, resolved["tasks"][name])
    for name, model in project.models.items():
        _check_names(project, name, model)
        _check_sections(project, name, model)
        _check_combinations(project, name, resolved["models"][name])


def warnings(project: Project, resolved: dict[str, Any]) -> list[str]:
    """What is allowed and still deserves a look."""
    lines = []
    place = project.params.place
    for name, task in resolved["tasks"].items():
        models = [resolved["models"][model] for model in task["models"]]
        if not any(model["learner"] == "linear" for model in models):
            lines.append(f"{place(('tasks', name))}: tasks.{name} has no `linear` model to compare the others with")
        if not any(model.get("training", {}).get("epochs") == 0 for model in models):
            lines.append(f"{place(('tasks', name))}: tasks.{name} has no untuned model (`training: {{epochs: 0}}`)")
    for name, model in resolved["models"].items():
        task = resolved["tasks"].get(model["task"])
        if task and not model["augmented"] and not rows_consistency.adds(task):
            where = place(("models", name, "augmented"))
            lines.append(f"{where}: models.{name} leaves augmented rows out, but tasks.{model['task']} adds none")
    used = {model["base"] for model in resolved["models"].values()}
    for role in resolved["bases"].keys() - used:
        lines.append(f"{place(('bases', role))}: bases.{role} is fetched, but no model uses it")
    for task in project.tasks.values():
        prompt, known = project.prompts.get(task.prompt or ""), constants(project, task.kind).get("TEXTS", ())
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
            known = sorted(f.stem for f in (project.folder / "retune/samples").glob("[!_]*.py"))
            if generator not in known:
                document.problem((name, "generator"), unknown("module", generator, known, " in retune/samples"))


def _check_task(project: Project, name: str) -> None:
    task, problem = project.tasks[name], project.params.problem
    at = ("tasks", name)
    source = project.sources.get(task.source)
    if task.source not in project.raw(DATA):
        if project.documents[DATA].data is not None:
            problem((*at, "source"), unknown("source", task.source, project.raw(DATA), f" in {DATA}"))
    elif source and task.size is not None and source.kind != "sample":
        problem((*at, "size"), f"only a sample has a size, and {task.source} is a {source.kind} source; take it out")
    shape = constants(project, task.kind)
    if source:
        _check_columns(project, task.source, task.kind, shape)
    _check_labels(project, name)
    _check_kind(project, name, shape)
    _check_chains(project, name)
    if task.prompt is None:
        return
    path = f"prompts/{task.prompt}.yaml"
    if path not in project.documents:
        known = [p[len("prompts/") : -len(".yaml")] for p in project.documents if p.startswith("prompts/")]
        problem((*at, "prompt"), unknown("prompt", task.prompt, known, " in prompts/"))
    elif prompt := project.prompts.get(task.prompt):
        labels = task.labels or shape.get("LABELS")
        _check_prompt(project.documents[path], prompt.user, prompt.answers, labels, name, shape)


def _check_labels(project: Project, name: str) -> None:
    task, at = project.tasks[name], ("tasks", name, "labels")
    if task.kind != "classification":
        if task.labels is not None:
            project.params.problem(at, f"kind {task.kind} has no labels of its own; take it out")
        return
    if task.labels is None:
        project.params.problem(at[:-1], "kind classification needs `labels`, a list of 2 to 200 different texts")
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
        said = [f"{what} {', '.join(found)}" for what, found in (("lacks", lost), ("has the unknown", odd)) if found]
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


def _check_names(project: Project, name: str, model: Model) -> None:
    problem, at = project.params.problem, ("models", name)
    tasks, bases = mapping(project.raw("params.yaml").get("tasks")), mapping(project.raw("params.yaml").get("bases"))
    if model.task not in tasks:
        problem((*at, "task"), unknown("task", model.task, tasks))
    if model.base not in bases:
        problem((*at, "base"), unknown("role", model.base, bases, " under `bases`"))
        return
    checkpoint = project.checkpoints.get(project.bases.get(model.base, ""))
    if checkpoint is None:
        return
    from_nothing = model.learner in ("linear", "api")
    if from_nothing and checkpoint.kind != "none":
        problem(
            (*at, "base"),
            f"`{model.base}` is a {checkpoint.kind} checkpoint, which {model.learner} can't read; "
            "give one of kind none",
        )
    elif not from_nothing and checkpoint.kind == "none":
        problem(
            (*at, "base"), f"`{model.base}` is empty (kind none), but {model.learner} needs a pretrained checkpoint"
        )
    elif model.learner == "llm" and checkpoint.format == "e5s1":
        problem((*at, "base"), f"`{model.base}` is an encoder, but llm needs a causal language model")
    elif model.learner in ("encoder", "embedder") and checkpoint.format == "gguf":
        problem((*at, "base"), f"`{model.base}` is a causal language model, but {model.learner} needs an encoder")
    task = project.tasks.get(model.task)
    learners = constants(project, task.kind).get("LEARNERS", ()) if task else ()
    if task and model.learner not in learners:
        text = f"{model.learner} can't be trained on kind {task.kind}; take one of {', '.join(learners)}"
        problem((*at, "learner"), text)
    if model.learner in ("llm", "api") and task and task.prompt is None:
        text = f"{model.learner} needs a prompt, but tasks.{model.task} has none; give it `prompt: NAME`"
        problem((*at, "learner"), text)


def _check_sections(project: Project, name: str, model: Model) -> None:
    kind = project.tasks[model.task].kind if model.task in project.tasks else None
    reads = sections(model.learner, kind)
    every = {section for table in (SECTIONS, RANKING) for names in table.values() for section in names}
    for section in sorted(every - set(reads)):
        if getattr(model, section) is not None:
            who = f"the learner {model.learner}" + (f" of kind {kind}" if kind == "ranking" else "")
            text = f"{who} does not read this section, only {', '.join(reads)}; take it out"
            project.params.problem(("models", name, section), text)


def _check_combinations(project: Project, name: str, spec: dict[str, Any]) -> None:
    """Settings that are fine by themselves and impossible together."""

    def problem(section: str, key: str, text: str) -> None:
        project.params.problem(("models", name, section, key), text)

    measured = constants(project, spec["kind"]).get("DEV_METRICS", ()) if spec["kind"] else ()
    if measured and (select := spec.get("training", {}).get("select", measured[0])) not in measured:
        problem(
            "training", "select", f"is {select}, which kind {spec['kind']} has not; take {', '.join(measured)} or auto"
        )
    for key, what in (("url", "http://localhost:8000/v1"), ("model", "a name that it knows")):
        if spec["learner"] == "api" and spec["api"][key] is None:
            problem("api", key, f"is missing; give the endpoint's, such as {what}")
    bits = spec.get("quantization", {}).get("bits", 16)
    if bits < 16 and spec["lora"]["method"] == "full":
        text = f"{bits}-bit weights can't be trained in full; take quantization.bits: 16, or lora.method: lora"
        problem("quantization", "bits", text)
    hardware = spec.get("hardware", {})
    device, dtype, attention = (hardware.get(key) for key in ("device", "dtype", "attention"))
    if attention == "flash_attention_2" and device in ("cpu", "mps"):
        problem("hardware", "attention", f"flash_attention_2 needs device: cuda, not {device}; take sdpa or auto")
    if attention == "flash_attention_2" and dtype == "float32":
        problem("hardware", "attention", "flash_attention_2 needs dtype: bfloat16 or float16, not float32")
    if dtype == "float16" and device == "cpu":
        problem("hardware", "dtype", "float16 is for GPUs; on the cpu take bfloat16, float32 or auto")
    if spec["kind"] == "ranking" and spec["learner"] == "embedder" and hardware["processes"] > 1:
        text = f"is {hardware['processes']}, but this loss compares all documents of a batch in one process; take 1"
        problem("hardware", "processes", text)
    if device == "mps" and hardware["processes"] > 1:
        problem("hardware", "processes", f"is {hardware['processes']}, but an Apple GPU serves one process; take 1")
    loss = spec.get("loss", {})
    if loss.get("adversarial") == "pgd" and loss["pgd_step_size"] > loss["epsilon"]:
        text = f"is {loss['pgd_step_size']}, above loss.epsilon ({loss['epsilon']}): one step would leave the radius"
        problem("loss", "pgd_step_size", text)


def constants(project: Project, kind: str) -> dict[str, Any]:
    """The literal constants of a task kind's module, read without importing it, since it imports polars.

    `COLUMNS` are the fields of the class `Rows`, wherever it stands in the module.
    """
    found: dict[str, Any] = {}
    path = project.folder / f"retune/tasks/{kind}.py"
    if not path.is_file():
        return found
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in [*tree.body, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
        elif isinstance(node, ast.ClassDef) and node.name == "Rows":
            targets = [n.targets[0] for n in node.body if isinstance(n, ast.Assign)]
            found["COLUMNS"] = tuple(t.id for t in targets if isinstance(t, ast.Name))
    return found
