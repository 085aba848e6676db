"""Answers of an exported LLM by transformers and peft alone: nothing of Retune is imported here.

    python -I causal_lm.py FOLDER ROWS.json OUT.json

FOLDER is an adapter, a merged model, or a decision model (it has a decision.json). ROWS is a list of {column: text}.
OUT gets `answers`, the calibrated probability of each label of export.json for each row, `log_probs` before the
calibration; `tokens` and `texts` of the prompts; `fitted`, what the folder says of temperature and threshold; `layers`,
the last token's vector behind each layer, of row 0.
"""

from __future__ import annotations

import copy
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

FITTED = ("temperature", "threshold", "abstain_below", "none_below", "estimate")
Found = tuple[list[str], dict[str, Any], list[dict[str, Any]]]
"""Labels, what was fitted, and what was found for each row."""


def load(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer. A base that was copied stands relative to the folder, so that becomes the working one."""
    os.chdir(folder)
    tokenizer = AutoTokenizer.from_pretrained(".")
    if Path("adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM

        return AutoPeftModelForCausalLM.from_pretrained(".", dtype=torch.float32).eval(), tokenizer
    # not pipeline("decision", model=FOLDER): without a decision head there that builds another, random model of 9 B
    return AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval(), tokenizer


def prompted(model: Any, tokenizer: Any, rows: list[dict[str, str]]) -> Found:
    """Ask with the messages of prompt.json; a label's probability is that of its answer among all answers."""
    card = json.loads(Path("prompt.json").read_text(encoding="utf-8"))
    answers = [[*_ids(tokenizer, text), _ids(tokenizer, card["end"])[0]] for text in card["answers"]]
    found = []
    for row in rows:
        shown = {name: card["values"].get(name, {}).get(row[name], row[name]) for name in card["fields"]}
        text = [{**turn, "content": _fill(turn["content"], shown)} for turn in card["messages"]]
        ids = tokenizer.apply_chat_template(
            text,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            sanitize_control_tokens=True,
            **card["chat_template_kwargs"],
        )["input_ids"] + _ids(tokenizer, card["after"])
        logs = log_probs(model, ids, answers)
        calibrated = torch.softmax(logs / card.get("temperature", 1.0), 0)
        found.append({"answers": calibrated.tolist(), "log_probs": logs.tolist(), "tokens": ids})
    return card["labels"], {name: card[name] for name in FITTED if name in card}, found


def log_probs(model: Any, ids: list[int], answers: list[list[int]]) -> torch.Tensor:
    """Log-probability of each answer in decoding that can write nothing else, float64 [answers]."""
    seen = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True)
    logs = torch.zeros(len(answers), dtype=torch.float64)
    for place in range(max(map(len, answers))):
        for begun in {tuple(answer[:place]) for answer in answers if len(answer) > place}:
            same = [n for n, answer in enumerate(answers) if len(answer) > place and tuple(answer[:place]) == begun]
            choices = sorted({answers[n][place] for n in same})
            if len(choices) == 1:
                continue
            logits = seen.logits[0, -1]
            if begun:
                cache = copy.deepcopy(seen.past_key_values)
                more = torch.tensor([begun], device=model.device)
                logits = model(input_ids=more, past_key_values=cache).logits[0, -1]
            chosen = torch.log_softmax(logits[choices].double(), 0)
            for n in same:
                logs[n] += chosen[choices.index(answers[n][place])].item()
    return logs


def decided(model: Any, tokenizer: Any, rows: list[dict[str, str]]) -> Found:
    """Ask the decision pipeline the questions of decision.json; a row's `dimension` names one of several."""
    from transformers import pipeline

    decide = pipeline("decision", model=model, tokenizer=tokenizer)
    card = json.loads(Path("decision.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = []
    labels: list[str] = []
    fitted = {name: card[name] for name in FITTED[1:] if name in card}
    for row in rows:
        state, name = {field: row[field] for field in card["fields"]}, row.get("dimension", "answer")
        question = card["questions"][name]
        inputs = decide.preprocess({"state": state, "questions": {name: question}})
        answer = decide.postprocess(scored := decide.forward(inputs))[name]
        labels = list(answer["probabilities"]) if question["type"] == "choice" else list(answer["legend"].values())
        fitted["temperature"] = card["temperature"].get(question["type"], 1.0)
        logs = torch.log_softmax(scored["scores"][0][0].double() * fitted["temperature"], 0)
        ids = inputs["prompts"][0][0]["input_ids"][0].tolist()
        found.append({"answers": list(answer["probabilities"].values()), "log_probs": logs.tolist(), "tokens": ids})
    return labels, fitted, found


def layers(model: Any, ids: list[int]) -> list[list[float]]:
    """The last token's vector behind the embeddings and behind each layer."""
    states = model(input_ids=torch.tensor([ids], device=model.device), output_hidden_states=True).hidden_states
    return [state[0, -1].float().tolist() for state in states]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False)) if text else []


def _fill(text: str, row: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: row.get(match[1], match[0]), text)


def main() -> None:
    """Read the rows, write the answers."""
    folder, source, out = (Path(argument).absolute() for argument in sys.argv[1:4])
    rows = json.loads(source.read_text(encoding="utf-8"))
    model, tokenizer = load(folder)
    with torch.inference_mode():
        labels, fitted, found = (decided if Path("decision.json").is_file() else prompted)(model, tokenizer, rows)
        states = layers(model, found[0]["tokens"])
    names = json.loads(Path("export.json").read_text(encoding="utf-8"))["spec"]["labels"]
    if sorted(names) != sorted(labels):
        sys.exit(f"it answers with the labels {', '.join(labels)}, the model with {', '.join(names)}")
    places = [labels.index(name) for name in names]
    columns: dict[str, Any] = {
        name: [[row[name][n] for n in places] for row in found] for name in ("answers", "log_probs")
    }
    columns["tokens"] = [row["tokens"] for row in found]
    texts = [tokenizer.decode(ids, skip_special_tokens=False) for ids in columns["tokens"]]
    written = {**columns, "texts": texts, "fitted": fitted, "layers": states}
    out.write_text(json.dumps(written, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
