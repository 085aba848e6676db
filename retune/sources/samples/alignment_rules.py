"""The rules of the task `alignment`: when a question and a chunk of a manual speak of the same entities.

Product first: products without a main model in common are not aligned, whatever else is. Then the fault codes decide by
their main code (`e100` is that of `e100.1`), then the parameters. What only one side names contradicts nothing, and
where nothing contradicts, the texts are aligned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MODEL = re.compile(r"^([a-z]+[0-9]+)[a-z]*$")
LEVELS = (("产品", "主型号"), ("故障码", "主码"), ("参数", "参数号"))
"""What the entities of each level are called, and what of them is compared; in the order of priority."""


@dataclass(frozen=True)
class Entities:
    """The products, fault codes and parameters that a text names, as it writes them."""

    products: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether a pair is aligned; what was compared, level by level: (level, same, mains of either side)."""

    aligned: bool
    compared: tuple[tuple[int, bool, tuple[str, ...], tuple[str, ...]], ...]


def mains(level: int, names: Sequence[str]) -> tuple[str, ...]:
    """What is compared of entities: main model, main code, or the parameter itself, in lower case; each once."""
    lower = [name.lower() for name in names]
    if level == 0:
        lower = [MODEL.sub(r"\1", name) for name in lower]
    return tuple(dict.fromkeys(name.partition(".")[0] if level == 1 else name for name in lower))


def judge(question: Entities, chunk: Entities) -> Verdict:
    """The label of a pair by the rules."""
    compared = []
    for level, names in enumerate(("products", "codes", "parameters")):
        asked, told = mains(level, getattr(question, names)), mains(level, getattr(chunk, names))
        if asked and told:
            same = not set(asked).isdisjoint(told)
            compared.append((level, same, asked, told))
            if not same or level == 1:  # a fault code on both sides decides before any parameter
                return Verdict(same, tuple(compared))
    return Verdict(True, tuple(compared))


def reasoning(question: Entities, chunk: Entities) -> str:
    """The four steps that lead to the label, ending with why."""
    verdict = judge(question, chunk)
    said = "对齐" if verdict.aligned else "不对齐"
    facts = [_fact(*comparison) for comparison in verdict.compared] or ["没有可比的实体"]
    return (
        f"1. question实体：{_listed(question)}\n2. chunk实体：{_listed(chunk)}\n"
        f"3. 判断：{'，'.join(facts)}，{said}\n4. 理由：{_why(verdict)}"
    )


def _listed(entities: Entities) -> str:
    parts = zip(LEVELS, (entities.products, entities.codes, entities.parameters), strict=True)
    return "，".join(f"{name}-{'、'.join(found)}" for (name, _), found in parts if found) or "无"


def _fact(level: int, same: bool, asked: tuple[str, ...], told: tuple[str, ...]) -> str:
    what = LEVELS[level][1]
    if same:
        return f"{what}{next(name for name in asked if name in told)}相同"
    return f"{what}{'、'.join(asked)}与{'、'.join(told)}不同"


def _why(verdict: Verdict) -> str:
    if not verdict.compared:
        return "没有矛盾的实体，默认对齐"
    level, same, *_ = verdict.compared[-1]
    name = LEVELS[level][0]
    if same:
        agreed = "和".join(LEVELS[level][0] for level, *_ in verdict.compared)
        return f"{agreed}一致，没有矛盾"
    if level == 0:
        return "产品优先，产品不一致"
    return f"产品一致，但{name}不一致" if verdict.compared[0][0] == 0 else f"{name}不一致"
