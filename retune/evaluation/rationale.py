"""The quality of written reasons by transparent rules over the text: docs/rationale.md has the formulas and limits.

Four measures from 0 to 1: coherence, terms (of the field), sufficiency, specificity. And, as counts, the figures of a
text and those of them that do not stand in the document that it speaks of. A rule sees form, not truth: the figures'
check is the only one that compares the text with anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MEASURES = ("coherence", "terms", "sufficiency", "specificity")
"""In the order of the report."""

ENOUGH_TERMS = 5
ENOUGH_EVIDENCE = 3
ENOUGH_DETAILS = 4
"""Distinct terms, sentences with evidence, and figures and examples together, from which the measure is 1."""

QUOTED, QUOTED_ASCII = 5, 12
"""Characters that a sentence must share with the document, one after the other, to cite it; more if all are ASCII."""

BREAK = re.compile(r"[。！？!?；;\n]+|(?<=[^\W\d])\.(?=\s|$)")
STEP = re.compile(
    r"^\s*(?:第[一二三四五六七八九十]+[步，、,]?|\(?\d{1,2}[.、)）](?!\d)|[一二三四五六七八九十]、|[-*•])\s*"
)
LINKS = re.compile(
    "因为|由于|因此|因而|所以|从而|故而|于是|可见|说明|表明|意味着|由此|综上|总之|综合|首先|其次|再次|然后|接着|最后|此外|另外|同时"
    "|并且|而且|不仅|但是|但|然而|不过|尽管|虽然|却|相比|反之|另一方面|一方面|例如|比如|如果|若|即便|其中"
    r"|\b(?:because|since|therefore|thus|hence|so|first|second|third|finally|then|next|also|moreover|furthermore"
    r"|in addition|meanwhile|but|however|although|though|while|whereas|despite|for example|for instance|if|overall"
    r"|in summary|consequently)\b"
)
INFERENCES = re.compile(
    "因此|因而|所以|从而|故|可见|说明|表明|意味着|由此|综上|总之|综合来看|反映|体现|显示"
    r"|\b(?:therefore|thus|hence|so|consequently|shows?|suggests?|indicates?|implies|means that|overall|in summary)\b"
)
WEIGHINGS = re.compile(
    "但是|但|然而|不过|尽管|虽然|却|相比|相对|反之|另一方面|不足|短板|制约|压力|风险|有限|低于|高于|优于|弱于|不一致|不同"
    r"|\b(?:but|however|although|though|while|whereas|despite|compared|limited|risks?|lacks?|weak\w*|below|above"
    r"|different|differs?|on the other hand)\b"
)
CONCLUSIONS = re.compile(
    "评分|打分|得分|评为|给出|给予|\\d\\s*分|判断|判定|结论|综上|总之|综合|因此|所以|对齐|整体|总体"
    r"|\b(?:score|rating|rated?|conclude|conclusion|therefore|thus|overall|in summary|label|match(?:es)?)\b"
)
EXAMPLES = re.compile(
    "例如|比如|譬如|诸如|以[^，。；\\s]{1,12}为例|举例|[「『“][^」』”]{1,30}[」』”]|《[^》]{1,30}》"
    r"|\b(?:for example|for instance|such as|e\.g\.)"
)
SCORES = re.compile(
    r"(?:评分|打分|得分|score|rating)\s*(?:为|是|:|：|of|is)?\s*\d+(?:\.\d+)?|\d+(?:\.\d+)?\s*分(?![钟之公部店行])"
)
"""What is given is no figure of the document, so it is taken out before figures are counted."""

FIGURE = re.compile(r"[a-z]*[-_]?\d[\d,]*(?:\.\d+)*[a-z]*")


class Rationale(NamedTuple):
    """One text, measured; `terms` is None where no terms are known."""

    coherence: float
    terms: float | None
    sufficiency: float
    specificity: float
    figures: int
    unsupported: int


def measure(text: str | None, document: str, terms: Sequence[str]) -> Rationale:
    """The quality of a text that speaks of a document; an empty text (or None) has 0 in everything."""
    plain, source = normalised(text or ""), normalised(document)
    parts, steps = sentences(plain)
    if not parts:
        return Rationale(0.0, 0.0 if terms else None, 0.0, 0.0, 0, 0)
    supported, unsupported = figures(plain, source)
    return Rationale(
        coherence(plain, parts, steps, source),
        min(1.0, len(found_terms(plain, terms)) / ENOUGH_TERMS) if terms else None,
        sufficiency(parts, source),
        min(1.0, (len(supported) + len(EXAMPLES.findall(plain))) / ENOUGH_DETAILS),
        len(supported) + len(unsupported),
        len(unsupported),
    )


def normalised(text: str) -> str:
    """A text without differences of width and case."""
    return unicodedata.normalize("NFKC", text).lower()


def sentences(text: str) -> tuple[list[str], int]:
    """The sentences (and lines) that hold a letter or a digit, without the number of a step; how many had one."""
    raw = [part for part in BREAK.split(text) if re.search(r"\w", part)]
    found = [STEP.sub("", part).strip() for part in raw]
    return [part for part in found if part], sum(STEP.match(part) is not None for part in raw)


def coherence(text: str, parts: list[str], steps: int, source: str) -> float:
    """Unrepeated times the mean of linked and related.

    linked: share of the sentences with a connective (or of those with a step's number), over a half, at most 1;
    related: share of the sentences that have two Chinese characters in a row, a word or a number in common with a
    neighbour or with the document.
    """
    marked = sum(LINKS.search(part) is not None for part in parts)
    linked = min(1.0, 2 * max(steps, marked) / len(parts))
    content, about = [_content(part) for part in parts], _content(source)
    beside = [about.union(*content[max(0, i - 1) : i], *content[i + 1 : i + 2]) for i in range(len(parts))]
    related = sum(bool(own & others) for own, others in zip(content, beside, strict=True)) / len(parts)
    return unrepeated(text) * (linked + related) / 2


def unrepeated(text: str) -> float:
    """Distinct over all runs of 8 characters that are no white space; 1 for a shorter text."""
    letters = re.sub(r"\s+", "", text)
    runs = [letters[i : i + 8] for i in range(len(letters) - 7)]
    return len(set(runs)) / len(runs) if runs else 1.0


def found_terms(text: str, terms: Sequence[str]) -> set[str]:
    """The distinct terms in a text; where one lies inside a longer one, the longer one is taken."""
    longest = sorted({normalised(term) for term in terms}, key=lambda term: (-len(term), term))
    return set(re.findall("|".join(map(re.escape, longest)), text)) if longest else set()


def sufficiency(parts: list[str], source: str) -> float:
    """A fourth each for evidence (sentences that cite the document, of 3), an inference, a weighing, a conclusion.

    The conclusion must stand in one of the last two sentences.
    """
    cited = sum(cites(part, source) for part in parts)
    inferred = any(INFERENCES.search(part) for part in parts)
    weighed = any(WEIGHINGS.search(part) for part in parts)
    concluded = any(CONCLUSIONS.search(part) for part in parts[-2:])
    return (min(1.0, cited / ENOUGH_EVIDENCE) + inferred + weighed + concluded) / 4


def cites(sentence: str, source: str) -> bool:
    """Whether a sentence has a figure of the document, or shares a run of `QUOTED` characters with it."""
    if figures(sentence, source)[0]:
        return True
    for length in (QUOTED, QUOTED_ASCII):
        runs = (sentence[i : i + length] for i in range(len(sentence) - length + 1))
        if any(run in source for run in runs if length == QUOTED_ASCII or not run.isascii()):
            return True
    return False


def figures(text: str, source: str) -> tuple[set[str], set[str]]:
    """The distinct figures of a text that stand in the document, and those that do not.

    A figure is a number, or a code with digits (`sv660n`, `e100.1`), which must stand there as it is. Numbers are
    compared by value, whatever unit follows (`1,200` and `1200.0` are one). Scores that the text gives, and the numbers
    of its steps, are none.
    """
    own = SCORES.sub(" ", "\n".join(STEP.sub("", line) for line in text.split("\n")))
    known = _figures(source)
    said = _figures(own)
    return said & known, said - known


def _figures(text: str) -> set[str]:
    """Every figure in its plain form: codes as they stand, numbers without separators, unit and trailing zeros."""
    found = set()
    for token in FIGURE.findall(text):
        number = re.fullmatch(r"[-_]?(\d[\d,]*(?:\.\d+)?)[a-z]*", token)
        if number:
            whole, _, rest = number[1].replace(",", "").partition(".")
            rest = rest.rstrip("0")
            found.add((whole.lstrip("0") or "0") + (f".{rest}" if rest else ""))
        else:
            found.add(token.strip("-_,"))
    return found


def _content(sentence: str) -> set[str]:
    """What two sentences may have in common: pairs of Chinese characters, and words and numbers."""
    han = re.findall(r"[\u3400-\u9fff]+", sentence)
    return {run[i : i + 2] for run in han for i in range(len(run) - 1)} | set(
        re.findall(r"[a-z0-9][a-z0-9.]{2,}", sentence)
    )


def built_in() -> list[str]:
    """The terms of company analysis that come with Retune."""
    lines = Path(__file__).with_name("rationale.terms.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
