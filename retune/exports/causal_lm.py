"""LLMs behind a prompt: an adapter, a merged model, or a decision model (retune.exports.llm, .decision)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from retune.data import labels
from retune.errors import RetuneError
from retune.exports import decision, llm, llm_difference
from retune.exports.parity import TOLERANCE
from retune.exports.protocol import PLAIN, Built, Exported
from retune.learners.llm.task_prompt import prepare
from retune.llm import adapter
from retune.llm.predictor import PromptedLlm
from retune.llm.prompt import prompt, targets
from retune.params import Params
from retune.training import hardware

TAG = "text-generation"
NOT_BY_FOLDER = (
    '# pipeline("decision", model=".") would build another model of 9 billion random parameters: pass a loaded one'
)
DIRECT = (
    "The model was trained to think before it answers. This folder has the probabilities of its answers without a "
    "thought, right behind an empty block of thoughts; metrics and calibration are of these."
)


def write(built: Built, out: Path) -> Exported:
    """Write the form that `merge` and `decision` of the entry say, a merged model in its `dtype`.

    A base that was quantised is quantised as in training where it is merged. A model that thinks is written for its
    answer without a thought. Raises `RetuneError` for an adapter on a quantised base without `merge`: another loader
    would read the base in other numbers.
    """
    spec, given = Params({**built.spec, "hardware": PLAIN}), built.given
    bits, merge, decides = spec.quantization.bits, given.merge, given.decision
    if bits != 16 and not merge:
        raise RetuneError(f"{built.name} stands on a base in {bits} bits: set `merge: true`")
    if merge:
        llm.write_merged(built.folder, built.base, spec, out, getattr(torch, given.dtype))
    elif decides:
        decision.write_model(built.folder, built.base, out)
    else:
        llm.write_adapter(built.folder, built.base, out)
    if decides:
        decision.write(spec, built.base, built.fitted, out, adapter=not merge)
    else:
        llm.write_prompt(spec, built.base, built.fitted, out)
    form = "decision" if decides else "merged" if merge else "adapter"
    more = {"reads": {"merged": merge, "base": None if merge or decides else llm.hub_name(built.base)}}
    dtype = "float32" if not merge else "int8" if bits == 8 else given.dtype
    note = DIRECT if spec.training.get("thinking", False) else ""
    return Exported(
        form, "causal_lm", "transformers", TAG, _use(form, built.columns), dict(built.fitted), more, dtype, note
    )


def _use(form: str, columns: tuple[str, ...]) -> list[str]:
    asked = "# prompt.json has the messages, the answers and the temperature"
    if form == "adapter":
        return [
            "from peft import AutoPeftModelForCausalLM",
            "",
            'model = AutoPeftModelForCausalLM.from_pretrained(".")  # only from inside, where its base may be',
            asked,
        ]
    opened = 'model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")'
    if form == "merged":
        return ["from transformers import AutoModelForCausalLM, AutoTokenizer", "", opened, asked]
    state = json.dumps({name: "..." for name in columns if name != "dimension"}, ensure_ascii=False)
    return [
        "import json",
        "",
        "from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline",
        "",
        opened,
        NOT_BY_FOLDER,
        'decide = pipeline("decision", model=model, tokenizer=tokenizer)',
        'questions = json.load(open("decision.json"))["questions"]',
        f'answers = decide({{"state": {state}, "questions": questions}})',
    ]


def load(folder: Path, card: Params, hardware_options: Params) -> PromptedLlm:
    """Read what `write` wrote."""
    spec, chosen = card.spec, hardware.choose(hardware_options, tree_attention=True)
    hardware.make_deterministic(spec.seed)
    whole = Params({**spec, "quantization": Params(bits=16)}) if card.reads.merged else spec
    base = folder if card.form != "adapter" else _base(folder, card.reads.base)
    model: Any = adapter.load_base(base, whole, chosen)
    if not card.reads.merged:
        model = adapter.attach(model, folder / decision.ADAPTER if card.form == "decision" else folder, chosen)
    return PromptedLlm(model.eval(), prepare(spec, base), chosen, spec, None)


def _base(folder: Path, hub: list[str] | None) -> Path:
    """The base beside an adapter, or that of the hub at its commit."""
    if hub is None:
        return folder / llm.BASE
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(hub[0], revision=hub[1]))


def token_ids(predictor: PromptedLlm, rows: pl.DataFrame) -> list[list[int]]:
    """Token ids of each row's prompt, up to the answer."""
    nothing = targets.think_block(predictor.chat, [])
    return [[*ids, *nothing] for ids in prompt.encode(predictor.chat, rows).ids]


def explain(built: Built, predictor: PromptedLlm, rows: pl.DataFrame, said: dict[str, Any], dtype: str) -> str:
    """One sentence: the first place where the folder, which said `said` to the rows, and the model part."""
    names = predictor.chat.labels
    probabilities = predictor.predict(rows).select(labels.names(len(names))).to_numpy().astype(np.float64)
    temperature = float(built.fitted["temperature"])
    own = llm_difference.of_model(predictor, token_ids(predictor, rows), probabilities, temperature)
    return llm_difference.first(own, llm_difference.of_folder(said), names, TOLERANCE[dtype])
