"""Doubtful rows as tasks that Label Studio imports, and the interface with which they are reviewed.

The format is that of Label Studio's documentation (import of tasks with predictions): `data` holds what is shown, a
prediction the label that stands today, so that a reviewer who agrees only submits. `row_id` leads the reviewed rows
back: `corrections` of data/catalog.yaml reads the export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from retune.data.convert.corrections import CHOICE, ROW_ID


def tasks(rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[dict[str, Any]]:
    """One task for each row, which has id, its `texts`, label, likeliest and surety."""
    return [
        {
            "data": {
                ROW_ID: row["id"],
                **{column: row[column] for column in texts},
                "label": row["label"],
                "likeliest": row["likeliest"],
            },
            "predictions": [
                {
                    "model_version": "label in the data",
                    "score": round(row["surety"], 6),
                    "result": [
                        {
                            "from_name": CHOICE,
                            "to_name": texts[0],
                            "type": "choices",
                            "value": {"choices": [row["label"]]},
                        }
                    ],
                }
            ],
        }
        for row in rows
    ]


def interface(texts: Sequence[str], labels: Sequence[str]) -> str:
    """The labelling interface (XML) of a project for these tasks: the texts, and one of the labels to choose."""
    shown = [f'  <Header value={quoteattr(text)}/>\n  <Text name={quoteattr(text)} value="${text}"/>' for text in texts]
    choices = [f"    <Choice value={quoteattr(label)}/>" for label in labels]
    head = f'  <Choices name="{CHOICE}" toName={quoteattr(texts[0])} choice="single" required="true">'
    return "\n".join(["<View>", *shown, head, *choices, "  </Choices>", "</View>"]) + "\n"
