"""Sample corpus of the task `similarity`: Chinese questions of payment customers, in the manner of AFQMC.

`similarity.yaml` holds hand-written families: one topic, three questions about it that are near misses of each other,
each question in four or more wordings. A positive pair is two wordings of one question; a negative pair is two
questions of the same family. No pair crosses families, so a split by `family` shares no sentence between its parts.

Every family gives 5 positive and 11 negative pairs (31 %, as in AFQMC), drawn uniformly from its 18 to 25 possible
positives and its 48 or more negatives. The sentences are written so that shared characters do not give the label away:
a turn of phrase runs through the questions of a family, while the wordings of one question mostly differ, and some
are close. Over the default corpus the Jaccard overlap of the characters has the mean 0.21 for positives and negatives
alike (its AUC is 0.52; 0.60 on AFQMC), so that no pair had to be picked by its overlap.
"""

from __future__ import annotations

import zlib
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from retune.errors import RetuneError

FAMILIES = Path(__file__).with_suffix(".yaml")
POSITIVES, NEGATIVES = 5, 11  # pairs per family

Family = list[list[str]]  # intents, each a list of sentences


def write(out: Path, seed: int, rows: int | None) -> None:
    """Write the pairs of `generate` as `pairs.csv` into `out`."""
    generate(seed, rows).write_csv(out / "pairs.csv")


def generate(seed: int, size: int | None) -> pl.DataFrame:
    """Return `size` labelled pairs (all when None): sentence1, sentence2, label (Int8), family; the same for one seed.

    A smaller size takes whole families in an order drawn by the seed; only the last one may be cut, and the share of
    positives stays within one pair of the full corpus. Raises RetuneError when there are fewer pairs than `size`.
    """
    families = read_families(FAMILIES)
    available = len(families) * (POSITIVES + NEGATIVES)
    if size is not None and not 1 <= size <= available:
        raise RetuneError(f"size is {size}, but the sample similarity has {available} pairs; ask for 1 to {available}")
    order = np.random.default_rng(seed).permutation(sorted(families))
    rows = [(*pair, name) for name in order.tolist() for pair in _pairs_of(name, families[name], seed)]
    schema = {"sentence1": pl.String, "sentence2": pl.String, "label": pl.Int8, "family": pl.String}
    return pl.DataFrame(rows[:size], schema=schema, orient="row")


def read_families(path: Path) -> dict[str, Family]:
    """Read `path` (family -> lines of ` | `-separated sentences); a sentence that occurs twice is a RetuneError."""
    lines = yaml.safe_load(path.read_text(encoding="utf-8"))
    families = {name: [line.split(" | ") for line in intents] for name, intents in lines.items()}
    owner: dict[str, str] = {}
    for name, intents in families.items():
        for sentence in (sentence for intent in intents for sentence in intent):
            if sentence in owner:
                raise RetuneError(f"{path.name}: {sentence} is in {owner[sentence]} and in {name}; keep one of them")
            owner[sentence] = name
    return families


def _pairs_of(name: str, intents: Family, seed: int) -> list[tuple[str, str, int]]:
    """Draw the pairs of one family, labels spread evenly so that every prefix has about the same share."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])  # of its own: an added family changes no other one
    same = [pair for intent in intents for pair in combinations(intent, 2)]
    near_misses = [(a, b) for one, other in combinations(intents, 2) for a in one for b in other]
    if len(same) < POSITIVES or len(near_misses) < NEGATIVES:
        found = f"{len(same)} positive and {len(near_misses)} negative pairs"
        raise RetuneError(
            f"{FAMILIES.name}: {name} gives {found}, {POSITIVES} and {NEGATIVES} are needed; add wordings"
        )
    drawn = [(a, b, 1) for a, b in _draw(same, POSITIVES, rng)]
    drawn += [(a, b, 0) for a, b in _draw(near_misses, NEGATIVES, rng)]
    turned = rng.random(len(drawn)) < 0.5  # which sentence comes first says nothing
    drawn = [(b, a, label) if turn else (a, b, label) for (a, b, label), turn in zip(drawn, turned, strict=True)]
    place = [(i + 0.5) / POSITIVES for i in range(POSITIVES)] + [(i + 0.5) / NEGATIVES for i in range(NEGATIVES)]
    return [drawn[i] for i in np.argsort(place, kind="stable")]


def _draw(pairs: list[tuple[str, str]], count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    return [pairs[i] for i in rng.permutation(len(pairs))[:count]]
