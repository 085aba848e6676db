"""Sample corpus of the task `retrieval`: Chinese help-centre passages, users' queries, graded relevance.

`retrieval.DOMAIN.*.yaml` hold hand-written topics. A topic has four passages, `a` to `d`, each of which answers another
question, a lexical decoy `x`, which uses the words of the topic's queries for something else, and its queries:
`b d | 手机卡丢了去哪弄张一样号码的` is answered by `b`, and in part by `d`.

Each query comes with the five passages of its topic and one of another domain, drawn by the seed (what might touch is
one domain: telecom and finance both speak of fraud, health and labour law of sick leave). The grade is a band
(`BANDS`) in which the seed draws `rel`, so the order of two grades never turns round; `weight` is the confidence of
the judge, higher where the grade is beyond doubt. The queries of a topic share its passages, hence the field `topic`:
a split by it keeps all passages but the drawn ones apart.

The users' wording mostly differs from the passage that answers them, while decoys and neighbours repeat it: BM25 over
characters and their bigrams ranks the best passage first for about half of the queries.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from retune.errors import RetuneError

FILES = sorted(Path(__file__).parent.glob("retrieval.*.yaml"))
BANDS = {  # grade -> lowest and highest rel
    "full": (0.92, 1.0),  # answers the query
    "part": (0.68, 0.82),  # answers a part of it, or what it comes down to
    "topic": (0.33, 0.47),  # the same topic, another question
    "decoy": (0.1, 0.2),  # the same words, another topic
    "other": (0.0, 0.04),  # another domain
}
WEIGHTS = {"full": (1.0, 1.5), "part": (0.5, 1.0), "topic": (0.6, 1.2), "decoy": (0.7, 1.3), "other": (1.0, 1.5)}
DOCUMENTS = 6  # per query

Row = dict[str, str | float]


@dataclass(frozen=True)
class Topic:
    """Passages by their letter, and queries with the letters of the passages that answer them: the full one first."""

    domain: str
    passages: dict[str, str]
    queries: dict[str, list[str]]


def write(out: Path, seed: int, rows: int | None) -> None:
    """Write `out/pairs.json`, an array of `rows` objects (all when None): key, query, doc, rel, weight, topic.

    A smaller `rows` takes whole queries in an order drawn by the seed; only the last one may be cut. The same for one
    seed. Raises RetuneError when there are fewer rows.
    """
    topics = read_topics(FILES)
    queries = [(query, name) for name, topic in sorted(topics.items()) for query in topic.queries]
    available = len(queries) * DOCUMENTS
    if rows is not None and not 1 <= rows <= available:
        raise RetuneError(f"rows is {rows}, but the sample retrieval has {available} rows; ask for 1 to {available}")
    order: list[int] = np.random.default_rng(seed).permutation(len(queries)).tolist()
    pairs = [row for i in order for row in _judged(*queries[i], topics, seed)]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in pairs[:rows])
    (out / "pairs.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_topics(files: list[Path]) -> dict[str, Topic]:
    """Read the topics of `files`; a topic, query or passage that occurs twice, or an unknown letter, is an error."""
    topics: dict[str, Topic] = {}
    owner: dict[str, str] = {}
    for path in files:
        for name, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            lines = [line.split(" | ") for line in entry.pop("queries")]
            topic = Topic(path.name.split(".")[1], entry, {query: letters.split() for letters, query in lines})
            for text in (name, *topic.passages.values(), *(query for _, query in lines)):
                if text in owner:
                    raise RetuneError(f"{path.name}: {text} is in {owner[text]} and in {name}; keep one of them")
                owner[text] = name
            for query, letters in topic.queries.items():
                if unknown := set(letters) - (set(topic.passages) - {"x"}):
                    raise RetuneError(f"{path.name}: {query} names {min(unknown)}, which is no answer of {name}")
            topics[name] = topic
    return topics


def _judged(query: str, name: str, topics: dict[str, Topic], seed: int) -> list[Row]:
    """The rows of one query, in an order that says nothing."""
    rng = np.random.default_rng([seed, zlib.crc32(query.encode())])  # of its own: another query changes no draw of it
    topic = topics[name]
    best, *partial = topic.queries[query]
    grades = {letter: "decoy" if letter == "x" else "topic" for letter in topic.passages}
    grades |= {best: "full"} | dict.fromkeys(partial, "part")
    documents = [(topic.passages[letter], grade) for letter, grade in grades.items()]
    others = [t for t in topics.values() if t.domain != topic.domain]  # without decoys, which are of any domain
    elsewhere = [text for t in others for letter, text in t.passages.items() if letter != "x"]
    documents.append((elsewhere[rng.integers(len(elsewhere))], "other"))
    number = list(topic.queries).index(query) + 1
    return [
        {
            "key": f"{name}-{number}-{place}",
            "query": query,
            "doc": text,
            "rel": round(rng.uniform(*BANDS[grade]), 2),
            "weight": round(rng.uniform(*WEIGHTS[grade]), 2),
            "topic": name,
        }
        for place, (text, grade) in enumerate((documents[i] for i in rng.permutation(len(documents))), start=1)
    ]
