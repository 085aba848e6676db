"""What every exported folder has beside its weights: export.json, which machines read, and README.md, a hub card."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retune import params
from retune.errors import RetuneError
from retune.exports.protocol import Built
from retune.learners import package
from retune.training import provenance
from retune.training.start import Start

if TYPE_CHECKING:
    from retune.exports.protocol import Exported
    from retune.params import Params

CARD, README, ANSWER = "export.json", "README.md", "answer.py"
OPENERS = Path(__file__).parent / "openers"
FORMAT = 1
"""Raised when a reader of older folders would misread a newer one."""

LICENCES = {
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "openrail++", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0",
    "etalab-2.0", "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1",
    "lgpl-3.0", "isc", "intel-research", "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr", "mpl-2.0", "odc-by",
    "odbl", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr",
    "deepfloyd-if-license", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "gemma", "unknown",
}  # fmt: skip
"""What the hub takes for `license`; of any other it wants `other` and the name."""
LICENCE_ALIASES = {"gemma terms of use": "gemma"}


def built(given: Params, base: Callable[[str], Path]) -> Built:
    """The model of an entry of `exports`, as it lies in the project; `base` finds the folder of a role.

    What was fitted and measured of an LLM that thinks is that of its answer without a thought: no other is one pass.
    """
    folder = Path("models") / given.model
    spec = params.load(folder / "spec.json")
    fitted = json.loads(Path(f"data/calibrations/{spec.task}/{given.model}.json").read_text(encoding="utf-8"))
    metrics = json.loads(Path(f"reports/metrics/{given.model}.json").read_text(encoding="utf-8"))["test"]
    if "direct" in fitted:
        details = Path(f"reports/evaluations/{spec.task}/{given.model}/details/readings.json")
        found = json.loads(details.read_text(encoding="utf-8"))["readings"]["direct"]
        fitted, metrics = fitted["direct"], found["metrics"]
    kept = {name: value for name, value in fitted.items() if isinstance(value, int | float | str) or value is None}
    return Built(given.model, folder, base(spec.base), spec, kept, given, metrics)


def write_card(built: Built, exported: Exported, out: Path) -> None:
    """Write export.json: all that is needed to answer as in the report, without the project; and answer.py.

    The latter is the script that parity runs, so whoever gets the folder can answer rows by the same loader.
    """
    spec = built.spec
    task = {"name": spec.task, "kind": spec.kind, "labels": spec.get("labels"), "texts": list(built.columns)}
    task |= {key: spec[key] for key in ("scores", "dimensions", "reasoning") if key in spec}
    card = {
        "format": FORMAT,
        "name": built.name,
        "form": exported.form,
        "learner": package(spec),
        "opener": exported.opener,
        "dtype": exported.dtype,
        "task": task,
        "calibration": exported.fitted,
        **exported.more,
        "spec": spec,
        "licence": {"hub": licence_of(built.given)[0], "base": built.given.base_entry, "data": built.given.source},
        "provenance": provenance.read(built.folder),
    }
    _json(out / CARD, card)
    shutil.copyfile(OPENERS / f"{exported.opener}.py", out / ANSWER)


def read_card(folder: Path) -> Params:
    """export.json of a folder. Raises `RetuneError` for one of a newer format."""
    card = params.load(folder / CARD)
    if card.get("format", 0) > FORMAT:
        raise RetuneError(f"{folder / CARD} has format {card.format}, and this Retune reads {FORMAT}: take a newer one")
    return card


def write_readme(built: Built, exported: Exported, parity: dict[str, Any], out: Path) -> None:
    """Write README.md: the card that the hub shows, with the test metrics and their intervals."""
    (out / README).write_text(
        "\n".join([*_front(built, exported), *_body(built, exported, parity), ""]), encoding="utf-8"
    )


def _front(built: Built, exported: Exported) -> list[str]:
    """The YAML head, by the hub's own class."""
    from huggingface_hub import EvalResult, ModelCardData

    given, spec = built.given, built.spec
    results = [
        EvalResult(
            task_type=exported.tag,
            dataset_type=(given.datasets or [spec.task])[0],
            dataset_name=spec.task,
            dataset_split="test",
            metric_type=name,
            metric_value=round(value["value"], 6),
            metric_name=f"{name}, {given.confidence:.0%} interval {_span(value)}" if _span(value) else name,
        )
        for name, value in _metrics(built)
    ]
    licence, licence_name = licence_of(given)
    head = ModelCardData(
        library_name=exported.library,
        pipeline_tag=exported.tag,
        license=licence,
        license_name=licence_name,
        base_model=base_model(given),
        datasets=given.datasets or None,
        language=given.language or None,
        tags=["retune", spec.kind, spec.learner],
        model_name=built.name,
        eval_results=results or None,
    )
    return ["---", head.to_yaml(), "---", ""]


def base_model(given: Params) -> str | None:
    """The base's name on the hub: that of the catalog, which follows `bases`, else what the entry says."""
    entry = given.base_entry
    of_hub: str | None = entry.get("repo") if entry.get("kind") == "huggingface" else None
    said: str | None = given.base_model or entry.get("repo")
    return of_hub or said


def licence_of(given: Params) -> tuple[str, str | None]:
    """The licence by the hub's name, or `other` and its own name.

    It is what the entry says, else the base's, else (a linear model has none) that of the data.
    """
    base = None if given.base_entry.get("kind") == "none" else given.base_entry.get("license")
    said = given.get("license") or base or given.source.get("license") or "not declared"
    plain = LICENCE_ALIASES.get(said.lower(), said.lower())
    return (plain, None) if plain in LICENCES else ("other", re.sub(r"[^a-z0-9.]+", "-", plain).strip("-") or "other")


def _body(built: Built, exported: Exported, parity: dict[str, Any]) -> list[str]:
    spec, given = built.spec, built.given
    shown = [f"| {name} | {value['value']:.4f} | {_span(value) or 'none'} |" for name, value in _metrics(built)]
    scratch = given.base_entry.get("kind") == "none"
    base, note = given.base_entry.get("name", spec.base_name), given.base_entry.get("note")
    licensed = f"{given.base_entry.get('license', 'licence not declared')}{f' ({note})' if note else ''}"
    parts: list[list[str]] = [
        [f"# {built.name}", "", _task(built, "scratch" if scratch else base)],
        [
            "From inside this folder; elsewhere its path, or its name on the hub, stands for `.`:"
            if any('"."' in line for line in exported.use)
            else "From inside this folder:",
            "",
            *("```python", *exported.use, "```"),
            *(["", exported.note] if exported.note else []),
        ],
        ["## Test metrics", "", f"| metric | value | {given.confidence:.0%} interval |", "|:--|--:|:--|", *shown],
        ["## Calibration", "", *calibration] if (calibration := _calibration(exported)) else [],
        ["## Parity", "", _parity(parity, spec)],
        [
            "## Data and licence",
            "",
            *([] if scratch else [f"- Base: {base}, {licensed}."]),
            f"- Data: {given.source.get('name', spec.task)}, {given.source.get('license', 'licence not declared')}.",
            *([f"- {Start(**begun).sentence}"] if (begun := provenance.read(built.folder).get("start")) else []),
            "- Hashes of what it was trained on and versions of packages: `provenance` in export.json.",
        ],
    ]
    return [line for part in parts if part for line in (*part, "")][:-1]


def _task(built: Built, base: str) -> str:
    """What it reads and answers, in two sentences."""
    spec, columns = built.spec, " and ".join(f"`{name}`" for name in built.columns)
    if spec.kind == "ranking":
        answer = "gives each document a score for the query"
    elif spec.kind == "scoring":
        answer = f"gives a score from {spec.scores[0]} to {spec.scores[1]}"
    else:
        answer = f"answers with one of {len(spec.labels)} labels"
    return (
        f"Task {spec.task} ({spec.kind}): reads {columns} and {answer}. Learner {spec.learner}, trained from {base} by "
        "Retune."
    )


def _calibration(exported: Exported) -> list[str]:
    """What was fitted on the calibration rows, in sentences."""
    fitted, said = exported.fitted, []
    if inside := fitted.get("temperature_in_weights"):
        said.append(f"Probabilities are calibrated: the temperature, {inside:.4g}, is in the weights already.")
    elif isinstance(fitted.get("temperature"), float) and fitted["temperature"] != 1.0:
        said.append(f"Logits divided by the temperature {fitted['temperature']!r} give calibrated probabilities.")
    if "threshold" in fitted:
        said.append(f"The second label is decided from a probability of {fitted['threshold']!r} on.")
    if "abstain_below" in fitted:
        said.append(f"Below a probability of {fitted['abstain_below']!r} a decided label is kept back: no answer.")
    if "none_below" in fitted:
        said.append(f"Below {fitted['none_below']!r} the text is taken for one of none of the labels.")
    if "scale" in fitted:
        said.append(f"{fitted['scale']!r} times a score plus {fitted['bias']!r} is its relevance, from 0 to 1.")
    return [" ".join(said)] if said else []


def _parity(parity: dict[str, Any], spec: Params) -> str:
    said = (
        f"{parity['rows']} calibration rows, answered by {parity['loader']} in a process of its own and by the model "
        f"itself: largest difference {parity['largest_difference']:.1e}, equal decisions "
        f"{parity['equal_decisions']:.1%} (parity.json). `python -I {ANSWER} . ROWS.json OUT.json` answers rows so."
    )
    if spec.get("training", {}).get("truncation") == "middle":
        said += f" Inputs beyond {spec.training.max_length} tokens lose their end here, and lost their middle in the"
        said += f" test metrics: {parity['cut']} rows were left out."
    if "quality" in parity:
        said += f" {quality_in_words(parity['quality'])}."
    return said


def quality_in_words(found: dict[str, Any]) -> str:
    """What 8-bit weights cost (retune.exports.quality), in a line."""
    names = ("int8", "float32", "difference", "low", "high", "p")
    shown = {name: "none" if found[name] is None else f"{found[name]:.4f}" for name in names}
    return (
        f"{found['metric']} {shown['int8']} in int8, {shown['float32']} in float32 on {found['rows']} calibration rows "
        f"of {found['groups']} groups, difference {shown['difference']} ({shown['low']} to {shown['high']}), "
        f"p {'at most ' * bool(found['at_most'])}{shown['p']}"
    )


def _metrics(built: Built) -> list[tuple[str, dict[str, Any]]]:
    """Name and {value, low, high} of what was measured on test."""
    found = built.metrics.items()
    return [(name, value) for name, value in found if isinstance(value, dict) and value.get("value") is not None]


def _span(value: dict[str, Any]) -> str:
    return "" if value.get("low") is None else f"{value['low']:.3f} to {value['high']:.3f}"


def _json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
