"""What Label Studio imports: tasks whose parts fit the interface beside them, whatever the texts and labels hold."""

from __future__ import annotations

from xml.etree import ElementTree

from retune.doubts import label_studio

HOSTILE = '"><script>alert(1)</script>&'
ROW = {"id": "r1", "text_a": HOSTILE, "text_b": "乙", "label": HOSTILE, "likeliest": "0", "surety": 0.00123456}


def test_the_label_that_stands_is_the_prediction_and_the_id_comes_along():
    (task,) = label_studio.tasks([ROW], ("text_a", "text_b"))
    assert task["data"] == {"row_id": "r1", "text_a": HOSTILE, "text_b": "乙", "label": HOSTILE, "likeliest": "0"}
    ((result,),) = [one["result"] for one in task["predictions"]]
    assert result["value"] == {"choices": [HOSTILE]}


def test_the_interface_names_what_the_tasks_name_and_markup_in_labels_stays_text():
    (task,) = label_studio.tasks([ROW], ("text_a", "text_b"))
    (result,) = task["predictions"][0]["result"]
    view = ElementTree.fromstring(label_studio.interface(("text_a", "text_b"), ["0", HOSTILE]))
    assert (
        {one.get("value") for one in view.iter("Text")} == {"$text_a", "$text_b"} <= {f"${key}" for key in task["data"]}
    )
    (choices,) = view.iter("Choices")
    assert (choices.get("name"), choices.get("toName")) == (result["from_name"], result["to_name"])
    assert result["to_name"] in {one.get("name") for one in view.iter("Text")}
    assert [one.get("value") for one in choices] == ["0", HOSTILE]
