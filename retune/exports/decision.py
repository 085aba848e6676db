"""An LLM as a decision model of transformers: one pass gives a calibrated probability for each option of a question.

    decision.json             temperature and labels (tokens) of each type of question, and what else a caller needs
    decision_template.jinja   the prompt of training, `<|split|>` between its parts, which are encoded one by one

They stand beside the model: merged, or a base with the adapter in `adapter/`. transformers reads, at the last token,
the logits of one token for each option, so the answers must part at one token; options are told apart by their
place, so the template refuses others than those of the training.

Where a folder has no decision head, `pipeline("decision", model=FOLDER)` builds another model, of 9 billion random
parameters: `pipeline("decision", model=AutoModelForCausalLM.from_pretrained(FOLDER), tokenizer=FOLDER)` is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.decision import DecisionConfig, label_token_ids

from retune.encoders import tokens
from retune.errors import RetuneError
from retune.exports.llm import FITTED, copy_base, frame, write_adapter
from retune.learners.llm.task_prompt import prepare
from retune.llm.label_scoring import trie_of
from retune.llm.prompt.template import PLACEHOLDER

if TYPE_CHECKING:
    from retune.llm.prompt.prompt import ChatPrompt
    from retune.params import Params

ADAPTER = "adapter"
CONFIG = "decision.json"
SPLIT, MARK = "<|split|>", "<|mark|>"


def write_model(model: Path, base: Path, out: Path) -> None:
    """Write the base into `out` and the adapter below, as the pipeline looks for them (`adapter` of decision.json)."""
    copy_base(base, out)
    below = out / ADAPTER
    below.mkdir()
    write_adapter(model, base, below, copy=False)


def write(spec: Params, base: Path, fitted: Mapping[str, Any], out: Path, adapter: bool) -> dict[str, Any]:
    """Write decision.json and the template beside a model in `out`; `adapter`: whether that is base and `adapter/`.

    Raises `RetuneError` where the answers part at more than one token, or at tokens that no text is read as.
    """
    chat = prepare(spec, base)
    begun, labels = label_tokens(chat, base)
    kinds = {"score" if spec.kind == "scoring" else "choice": labels}
    if len(labels) == 2 and spec.kind != "scoring":
        kinds["noul"] = labels[::-1]  # true is the second label
    config = DecisionConfig(
        labels=kinds,
        temperature=dict.fromkeys(kinds, float(fitted.get("temperature", 1.0))),
        chat_template=template(spec, base, chat, begun),
        adapter=ADAPTER if adapter else None,
    )
    config.save_pretrained(out)
    record = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    record |= {"fields": list(chat.fields), "questions": questions(spec)}
    record |= {name: fitted[name] for name in FITTED[1:] if name in fitted}  # transformers reads none of these
    (out / CONFIG).write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return dict(record)


def label_tokens(chat: ChatPrompt, base: Path) -> tuple[str, list[str]]:
    """The text that all answers begin with, mostly none, and the token behind it that stands for each label."""
    trie = trie_of(chat.answers, chat.after_answer)
    remedy = "give the prompt answers of one token each, as A, B, C, and train with them"
    if len(trie.nodes) != 1:
        one, other = _clash(chat, trie.nodes[1])
        raise RetuneError(
            f"a decision model reads one token, but the answers of {one!r} and {other!r} go on alike: {remedy}"
        )
    decode = chat.tokenizer.decode
    ids = [trie.edges[int(path.argmax())][1] for path in trie.on_path]
    labels = [decode([token], skip_special_tokens=False) for token in ids]
    try:
        found = label_token_ids(tokens.tokenizer_of(base), tuple(labels))
    except ValueError:
        found = []
    if found != ids:
        raise RetuneError(f"the first tokens of the answers, {labels}, are not read as single tokens: {remedy}")
    return decode(list(trie.nodes[0]), skip_special_tokens=False), labels


def _clash(chat: ChatPrompt, node: tuple[int, ...]) -> tuple[str, str]:
    alike = [label for label, ids in zip(chat.labels, chat.answers, strict=True) if tuple(ids[: len(node)]) == node]
    return alike[0], alike[1]


def questions(spec: Params) -> dict[str, dict[str, Any]]:
    """The questions that the model was trained on: one `answer`, or one for each dimension of a score."""
    if spec.kind == "scoring":
        return {name: {"type": "score", "criteria": list(spec.labels)} for name in spec.dimensions}
    return {"answer": {"type": "choice", "criteria": dict.fromkeys(spec.labels)}}


def template(spec: Params, base: Path, chat: ChatPrompt, begun: str = "") -> str:
    """The prompt as a Jinja template over `question` and `state`: the columns, or the text alone where there is one."""
    before, system, between, after = frame(tokens.tokenizer_of(base), spec)
    parts = [_text(before), *([_text(system), _text(between)] if system else []), _user(chat), _text(after)]
    if begun:
        parts.append(_text(begun))
    labels = _text_list(chat.labels)
    wrong = _text(f"this model was trained to choose among {', '.join(chat.labels)}, in this order")
    asked = f'question.type == "choice" and question.options != {labels}'
    if spec.kind == "scoring":
        asked = f'question.type != "score" or question.options|length != {len(chat.labels)}'
    elif len(chat.labels) != 2:
        asked = f'question.type != "choice" or question.options != {labels}'
    else:
        asked = f'question.type == "score" or ({asked})'
    lines = [f"{{%- if {asked} %}}{{{{ raise_exception({wrong}) }}}}{{% endif -%}}"]
    for name, values in chat.values.items():
        pairs = ", ".join(f"{_text(value)}: {_text(text)}" for value, text in values.items())
        lines.append(f"{{%- set shown_{name} = {{{pairs}}} -%}}")
    joined = f' ~ "{SPLIT}" ~ '.join(parts)
    lines.append(f'{{{{- {joined} ~ "{MARK}" -}}}}')
    return "\n".join(lines) + "\n"


def _user(chat: ChatPrompt) -> str:
    """The user's text as a Jinja expression: a row's columns between literal texts."""
    pieces, place = [], 0
    for match in PLACEHOLDER.finditer(chat.user):
        if match[1] not in chat.fields:
            continue
        pieces += [_text(chat.user[place : match.start()]), _column(chat, match[1])]
        place = match.end()
    pieces.append(_text(chat.user[place:]))
    return "(" + " ~ ".join(piece for piece in pieces if piece != '""') + ")"


def _column(chat: ChatPrompt, name: str) -> str:
    value = f"state[{_text(name)}]"
    if len(chat.fields) == 1:
        value = f"(state if state is string else {value})"
    elif name == "dimension":
        value = "question.name"
    return f"shown_{name}.get({value}, {value})" if name in chat.values else value


def _text(text: str) -> str:
    """A Jinja string: its escapes are those of JSON, but for characters beyond the first plane, which stay."""
    return re.sub(r"[\x7f\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def _text_list(texts: tuple[str, ...]) -> str:
    return "[" + ", ".join(map(_text, texts)) + "]"
