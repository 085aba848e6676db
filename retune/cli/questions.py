"""What a model of any kind is asked, and what it says, as JSON values and in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retune.cli.printing import visible
from retune.exports.decisions import ABSTENTION

if TYPE_CHECKING:
    from retune.inference import Model

LABELS = 3
"""How many labels are shown."""
WIDTH = 100
"""Characters of a document in a line."""

Reads = Callable[[str, bool], list[str]]
"""(what is asked for, whether it may be several) -> texts; raises `EOFError` at the end."""


@dataclass(frozen=True)
class Question:
    """Texts by column; of a ranking its documents too, of a scoring its dimensions (none: all)."""

    texts: dict[str, str]
    documents: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()


def fields(model: Model) -> tuple[str, ...]:
    """The columns that a person gives, one text each."""
    return {"scoring": ("document",), "ranking": ("query",)}.get(model.spec.kind, model.texts)


def read(model: Model, reads: Reads, dimensions: Sequence[str] = ()) -> Question | None:
    """The next question; None where a text of it is empty. An empty line, or the end, ends the documents of a query."""
    texts = {}
    for name in fields(model):
        texts[name] = "\n".join(reads(name, False))
        if not texts[name].strip():
            return None
    documents: list[str] = []
    while model.spec.kind == "ranking":
        try:
            more = reads(f"document {len(documents) + 1}", True)
        except EOFError:
            break
        if not any(text.strip() for text in more):
            break
        documents += more
    if model.spec.kind == "ranking" and not documents:
        return None
    return Question(texts, tuple(documents), tuple(dimensions))


def answer(model: Model, question: Question) -> Any:
    """What `classify`, `align`, `score` and `rerank` say, with the probability of every label; JSON values."""
    if model.spec.kind == "ranking":
        return model.rerank(question.texts["query"], question.documents)
    if model.spec.kind == "scoring":
        return model.score(question.texts["document"], question.dimensions or None)
    (row,) = model.predict([question.texts])
    said = {name: row[name] for name in ("generated_label", "reasoning", "raw", *ABSTENTION) if name in row}
    return {
        "label": row["label"],
        "answer": _answers(model).get(row["label"], row["label"]),
        "probability": row["probability"],
        "probabilities": {label: row[f"prob_{label}"] for label in model.spec.labels},
        "truncated": row["truncated"],
        **said,
    }


def words(model: Model, found: Any, top: int | None = None, thinking: bool = True) -> str:
    """An answer for a terminal; `top` labels (or documents), default 3 (or all)."""
    match model.spec.kind:
        case "ranking":
            lines = _ranked(found, top)
        case "scoring":
            lines = _scored(found, thinking)
        case _:
            lines = _labelled(found, model.fitted.get("threshold"), top or LABELS, thinking)
    return "\n".join(map(visible, lines))


def short(model: Model, found: Any) -> str:
    """An answer in some words."""
    if model.spec.kind == "ranking":
        return f"{one_line(found[0]['document'], 40)} first of {len(found)}"
    if model.spec.kind == "scoring":
        return ", ".join(f"{name} {entry['score']}" for name, entry in found.items())
    if found["label"] is None and found.get("would_be") is not None:
        return f"unsure, {found['would_be']} {found['probability']:.3f}"
    return "no label" if found["label"] is None else f"{found['label']} {found['probability']:.3f}"


def one_line(text: str, width: int = WIDTH) -> str:
    """A text cut to one line; breaks in it are shown as spaces."""
    whole = " ".join(text.split())
    return whole if len(whole) <= width else whole[: width - 1] + "…"


def _answers(model: Model) -> dict[str, str]:
    return dict((model.spec.get("prompt") or {}).get("answers") or {})


def _labelled(found: dict[str, Any], threshold: float | None, top: int, thinking: bool) -> Iterator[str]:
    kept_back = found.get("would_be")
    decided = found["label"] if found["label"] is not None else kept_back
    if decided is None:
        yield f"no label: {found.get('raw') or ''}".rstrip()
        return
    ranked = sorted(found["probabilities"], key=lambda label: -found["probabilities"][label])
    likeliest = ", ".join(f"{label} {found['probabilities'][label]:.3f}" for label in ranked[:top])
    if threshold is not None and decided != ranked[0]:  # which would look like a mistake
        likeliest += f"; decided at {threshold:.3f}"
    name = found["label"] if found["answer"] in (found["label"], None) else f"{found['label']} {found['answer']}"
    if found["label"] is None:
        name = (
            f"none of these? it would be {decided}" if found.get("none_of_these") else f"unsure: it would be {decided}"
        )
    yield f"{name}  ({likeliest})"
    if found.get("generated_label") not in (None, decided):
        yield f"  it wrote {found['generated_label']}"
    if found["truncated"]:
        yield "  the text was cut to the model's length"
    if thinking and found.get("reasoning"):
        yield from _indented("thinking", found["reasoning"])


def _scored(found: dict[str, Any], thinking: bool) -> Iterator[str]:
    width = max(map(len, found), default=0)
    for name, entry in found.items():
        reason = one_line(entry.get("reason") or "", 10 * WIDTH)
        yield f"{name:<{width}}  {entry['score']:>3}  (expected {entry['expected']:.2f})  {reason}".rstrip()
        if thinking and entry.get("reasoning"):
            yield from _indented("thinking", entry["reasoning"])


def _ranked(found: list[dict[str, Any]], top: int | None) -> Iterator[str]:
    for place, entry in enumerate(found[:top], 1):
        cut = "  (cut to the model's length)" if entry.get("truncated") else ""
        yield f"{place:>3}.  {entry['relevance']:.3f}  {one_line(entry['document'])}{cut}"
    if top and len(found) > top:
        yield f"      and {len(found) - top} more"


def _indented(what: str, text: str) -> Iterator[str]:
    yield f"  {what}:"
    yield from (f"    {line}" for line in text.strip().splitlines())
