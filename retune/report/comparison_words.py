"""Paired comparisons of a task's models, turned either way round and put into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retune.report.inputs import Model, Task
from retune.report.words import SAME, and_, count, equals_p, interval, metric, number, signed, signed_interval, verdict

UNBEATABLE = ("calibration_error",)
"""Metrics in which a constant is about perfect, being the frequency itself: models are compared with each other."""


@dataclass(frozen=True)
class Difference:
    """A metric of the first model minus that of the second, with its interval and corrected p (`at_most`: or less)."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    at_most: bool = False

    def verdict(self, alpha: float) -> str:
        """`better`, `worse` or `no difference shown`, about the first model."""
        return verdict(self.value, self.p, alpha, metric(self.metric).more_is_better)


@dataclass(frozen=True)
class Pair:
    """Model `a` against model `b` on the same test rows."""

    a: str
    b: str
    differences: dict[str, Difference]
    only_a: int
    only_b: int
    agreement: float

    def turned(self) -> Pair:
        """The same comparison as `b` against `a`."""
        opposite = {
            name: Difference(name, _minus(d.value), _minus(d.high), _minus(d.low), d.p, d.at_most)
            for name, d in self.differences.items()
        }
        return Pair(self.b, self.a, opposite, self.only_b, self.only_a, self.agreement)


def pairs(task: Task) -> dict[tuple[str, str], Pair]:
    """Every ordered pair of the task's models that was compared."""
    found = {}
    for entry in task.comparison["pairs"]:
        pair = _pair(entry)
        found[pair.a, pair.b], found[pair.b, pair.a] = pair, pair.turned()
    return found


def listed(task: Task) -> list[Pair]:
    """Each comparison once: tuned models against references first, the better model of a pair first."""
    names = [m.name for m in ranked(task)]
    reference = {m.name: bool(m.role) for m in task.systems}
    both = pairs(task)
    found = [both[a, b] for i, a in enumerate(names) for b in names[i + 1 :] if (a, b) in both]
    return sorted(found, key=lambda pair: not (reference[pair.b] and not reference[pair.a]))


def gains(task: Task) -> list[Pair]:
    """Every other model against each baseline and each untuned checkpoint, in the order of params.yaml."""
    both = pairs(task)
    references = [m for m in task.systems if m.role]
    others = [m for m in task.systems if not m.role]
    found = [both[m.name, r.name] for m in others for r in references if (m.name, r.name) in both]
    return found + [
        both[b.name, a.name] for i, a in enumerate(references) for b in references[i + 1 :] if (b.name, a.name) in both
    ]


def ablations(task: Task) -> list[Pair]:
    """Each model against the one that differs from it in nothing but that no augmented row trained it."""
    both, named = pairs(task), {model.name: model.spec for model in task.models}

    def rest(name: str) -> dict[str, Any]:
        return {key: value for key, value in named[name].items() if key != "augmented"}

    return [
        both[a, b]
        for a in named
        for b in named
        if (a, b) in both
        and named[a].get("augmented", True)
        and not named[b].get("augmented", True)
        and rest(a) == rest(b)
    ]


def taught(task: Task) -> list[tuple[Model, Pair | None]]:
    """Each model with a teacher, and its comparison with the one that differs in nothing but that it has none."""
    both = pairs(task)

    def rest(model: Model) -> Any:
        spec = {key: value for key, value in model.spec.items() if key != "teacher"}
        return spec, list(model.seeds.values())

    students = [model for model in task.models if "teacher" in model.spec]
    alone = [model for model in task.models if "teacher" not in model.spec]
    return [
        (one, next((both.get((one.name, other.name)) for other in alone if rest(other) == rest(one)), None))
        for one in students
    ]


def over_baseline(task: Task, key: str) -> dict[str, Difference]:
    """A metric of each model minus that of the constant baseline."""
    return {name: _differences(metrics)[key] for name, metrics in task.comparison["over_ignorant"].items()}


def value(model: Model, key: str) -> float:
    """A metric of a model, as a number that sorts last where it is undefined."""
    found = model.metrics.get(key, {}).get("value")
    if found is None or found != found:
        return float("-inf")
    return found if metric(key).more_is_better else -found


def ranked(task: Task, key: str | None = None) -> list[Model]:
    """The models by a metric (by default the primary one), best first."""
    return sorted(task.systems, key=lambda model: -value(model, key or task.kind.LEADING[0]))


def leaders(values: dict[str, float], beating: set[str]) -> set[str]:
    """Who has the largest value, if among those that beat the trivial row; several where it is shared.

    What is set in bold or called best is decided here, in all tables of models and sentences about them.
    """
    top = max(values.values(), default=float("-inf"))
    return {name for name, value in values.items() if value == top > float("-inf")} & beating


def best(task: Task, key: str) -> set[str]:
    """The names of the models with the best value of a metric, if they are shown to beat the constant baseline."""
    return leaders({m.name: value(m, key) for m in task.systems}, beating(task, key))


def beating(task: Task, key: str) -> set[str]:
    """The models that are shown to be better than the constant baseline, or all where nobody can be."""
    return {
        name
        for name, found in over_baseline(task, key).items()
        if key in UNBEATABLE or found.value is None or found.verdict(task.alpha) == "better"
    }


def bold(task: Task) -> str:
    """What bold says in a table of all metrics."""
    apart = " and ".join(metric(key).name for key in UNBEATABLE if key in task.models[0].metrics)
    said = f"best value, if it is shown to beat the {task.kind.CONSTANT_BASELINE}"
    return f"{said} ({apart}: the lowest of the models, as that of a constant is near 0)" if apart else said


OVER_SEEDS = (
    "Where a model has several seeds, its mean over them is compared: interval and p are Student's t over the chance "
    "of the rows and that of the seeds; a model that was trained once is taken to vary over seeds as the other does."
)


def seeds(task: Task) -> list[str]:
    """What the figures of models with several seeds are, and of which seed the rest is."""
    found = []
    for model in task.models:
        if model.seeds:
            named = and_([str(seed) for seed in model.seeds.values()])
            found.append(
                f"{model.name} was trained with {len(model.seeds)} seeds ({named}): the mean over them, the interval "
                "over rows for these trainings, then \u00b1 the standard deviation, the least and the most over the "
                f"seeds. Curves, errors, calibration and cost are those of seed {next(iter(model.seeds.values()))}."
            )
    return found


def called(model: Model) -> str:
    """A model in a sentence."""
    return {"baseline": "the linear baseline ", "untuned": "the untuned "}.get(model.role, "") + model.name


def headline(task: Task) -> list[str]:
    """A statement on each leading metric: first those in which the best value isn't shown to beat the constant."""
    unshown, shown, last = [], [], ""
    for key in task.kind.LEADING:
        top = ranked(task, key)[0]
        found = top.metrics.get(key)
        if not found or found["value"] is None:
            continue
        if top.name not in best(task, key):
            unshown.append(_unshown(task, top, key))
            continue
        name = "It also" if top.name == last else _capital(called(top))
        last = top.name
        over = f"mean over {len(top.seeds)} seeds, " if top.seeds else ""
        sentence = (
            f"{name} has the {metric(key).extreme} {metric(key).name}: {number(found['value'])} "
            f"({over}{task.percent} interval {interval(found['low'], found['high'])})."
        )
        shown.append(f"{sentence} {_against_references(task, top, key)}".strip())
    return [*unshown, *shown]


def _unshown(task: Task, top: Model, key: str) -> str:
    """That the model with the best value is not shown to beat the constant baseline, and who else is, if any."""
    name, constant = metric(key).name, number(task.comparison["ignorant"][key]["value"])
    figure, difference = number(top.metrics[key]["value"]), over_baseline(task, key)[top.name]
    over = f"{signed(difference.value)}, {equals_p(difference.p, difference.at_most)}"
    if others := [m.name for m in task.systems if m.name in beating(task, key)]:
        return (
            f"The {metric(key).extreme} {name}, {figure} of {called(top)}, is not shown to beat knowing nothing: "
            f"{task.kind.CONSTANT_BASELINE} has {constant} ({over}). That is shown of {and_(others)}."
        )
    return (
        f"No model is shown to beat knowing nothing in {name}: {task.kind.CONSTANT_BASELINE} has {constant}, "
        f"{called(top)} {figure} ({over}), the {metric(key).extreme} of the models."
    )


def ablation_sentences(task: Task) -> list[str]:
    """What the augmented rows changed: for each ablation its leading metrics, with intervals."""
    added = sum(split["augmented"] for split in task.splits["splits"].values())
    sentences = []
    for pair in ablations(task):
        parts = [_verdict(task, pair.differences[key]) for key in task.kind.LEADING]
        models = f"{pair.a} (with {count(added)} added rows) against {pair.b} (without)"
        sentences.append(f"Augmentation: {models}: {'; '.join(parts)}.")
    return sentences


def teacher_sentences(task: Task) -> list[str]:
    """What a teacher brought its student, by the student's twin without one; or how to have it shown."""
    sentences = []
    for model, pair in taught(task):
        start = f"Teacher: {model.name}, taught by {model.spec.teacher.model}"
        if pair is None:
            sentences.append(
                f"{start}: what that brought is not shown, since no model is the same without a teacher. Declare one: "
                f"the entry {model.name} again under another name, without `teacher`."
            )
            continue
        found = "; ".join(_verdict(task, pair.differences[key]) for key in task.kind.LEADING)
        sentences.append(f"{start}, against {pair.b}, the same without a teacher: {found}.")
    return sentences


def _verdict(task: Task, d: Difference) -> str:
    found = f"{signed(d.value)} {signed_interval(d.low, d.high)}, {equals_p(d.p, d.at_most)}"
    return f"{metric(d.metric).name} {found}, {d.verdict(task.alpha)}"


def _against_references(task: Task, model: Model, key: str) -> str:
    """That the model is better than these references, and that no difference is shown to those."""
    both = pairs(task)
    said: dict[str, list[str]] = {"better": [], SAME: [], "worse": []}
    for other in task.systems:
        pair = both.get((model.name, other.name))
        if other.role and pair is not None:
            difference = pair.differences[key]
            words = f"{called(other)} ({signed(difference.value)}, {equals_p(difference.p, difference.at_most)})"
            said[difference.verdict(task.alpha)].append(words)
    phrases = [f"it is {word} than {and_(said[word])}" for word in ("better", "worse") if said[word]]
    if unclear := said[SAME]:
        phrases.append(f"no difference is shown to {and_(unclear)}")
    return f"{_capital('; '.join(phrases))}." if phrases else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith(("the ", "it ", "no ")) else text


def _minus(number: float | None) -> float | None:
    return None if number is None else -number


def _differences(metrics: dict[str, dict[str, Any]]) -> dict[str, Difference]:
    return {
        key: Difference(key, d["difference"], d["low"], d["high"], d["p"], d["at_most"]) for key, d in metrics.items()
    }


def _pair(entry: dict[str, Any]) -> Pair:
    differences = _differences(entry["metrics"])
    wins = entry["wins"]
    return Pair(entry["a"], entry["b"], differences, wins["only_a"], wins["only_b"], entry["agreement"])
