"""Typed questions of /v1/systemone, read as rows of a model, and its calibrated probabilities as their answers.

Questions, and the shape of the answers, are those of transformers' `pipeline("decision")`. A model can answer the
questions that it was trained on (retune.exports.decision.questions): `choice` among its labels in their order; of two
labels also `noul`, the probability of the second; `score` for each dimension of a scoring task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retune.errors import unknown
from retune.serve.refusal import Refusal

if TYPE_CHECKING:
    from transformers.decision import Question

    from retune.serve.served import Served


def parse(served: Served, questions: Mapping[str, dict[str, Any]]) -> list[Question]:
    """The questions. Raises `Refusal` for what none may be, and for one that the model was not trained on."""
    from transformers.decision import DecisionConfig, parse_questions

    for name, question in questions.items():
        if question.get("type") in ("choice", "score") and not question.get("criteria"):
            said = f"questions.{name[:40]} has no `criteria`: the options that it chooses among"
            raise Refusal(422, "invalid_question", said, "questions")
    labels = served.labels
    config = DecisionConfig(labels={"choice": labels, "score": labels, "noul": ["true", "false"]})
    try:
        found = parse_questions(dict(questions), config)
    except (ValueError, TypeError) as error:
        raise Refusal(422, "invalid_question", str(error), "questions") from None
    for question in found:
        _check(served, question)
    return list(found)


def _check(served: Served, question: Question) -> None:
    labels, place = served.labels, f"questions.{question.name}"
    if served.kind == "scoring":
        dimensions = list(served.model.spec.dimensions)
        if question.name not in dimensions:
            said = unknown("dimension", question.name, dimensions, f" of {served.name}")
            raise Refusal(422, "unknown_dimension", said, place)
        if question.type != "score" or len(question.options) != len(labels):
            said = f"{place}: {served.name} was trained to `score` with {len(labels)} criteria"
            raise Refusal(422, "unknown_question", said, place)
        return
    if question.type == "noul" and len(labels) == 2:
        return
    if question.type != "choice" or question.options != labels:
        shown = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        said = f"{place}: {served.name} was trained to `choice` among {shown}, in this order"
        raise Refusal(422, "unknown_question", said, place)


def rows(served: Served, state: Any, questions: list[Question]) -> list[dict[str, str]]:
    """The row that each question asks about. Raises `Refusal` where the state lacks a text."""
    columns = [name for name in served.model.texts if name != "dimension"]
    if isinstance(state, str) and len(columns) == 1:
        state = {columns[0]: state}
    found = {name: state.get(name) for name in columns} if isinstance(state, dict) else {}
    texts = {name: text for name, text in found.items() if isinstance(text, str)}
    if len(texts) < len(columns):
        said = f"state must be an object of texts {', '.join(columns)}" + (", or a text" if len(columns) == 1 else "")
        raise Refusal(422, "invalid_state", said, "state")
    if served.kind != "scoring":
        return [texts] * len(questions)
    return [texts | {"dimension": question.name} for question in questions]


def answer(served: Served, question: Question, found: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a question; with `label`, the decision of the report, where a threshold or abstention was fitted.

    `choice` is the likeliest option, as `pipeline("decision")` says, which reads no threshold.
    """
    probabilities = [found[f"prob_{label}"] for label in served.labels]
    if None in probabilities:
        raise Refusal(422, "no_answer", f"{served.name} named none of its labels for {question.name}")
    if question.type == "noul":  # its options are true, false, and true is the second label
        probabilities.reverse()
    said: dict[str, Any] = question.answer(probabilities)
    kept_back = served.model.abstention(found)
    return said | ({"label": found["label"]} if "threshold" in served.model.fitted or kept_back else {}) | kept_back
