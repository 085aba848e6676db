"""Models with a teacher: the stage `teach@STUDENT` asks the teacher, and `train@STUDENT` reads what it said.

DVC has no dependency that only some instances of a stage have. So every model's training depends on a folder
data/lessons/MODEL, which holds a file that says who its teacher is, if anybody; a student's stage `teach` writes below
it. The files are committed, as those in resolved/ are.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from retune.atomic_file import replacing
from retune.pipeline.declarations import Project
from retune.pipeline.schema.params import Model, Teacher

FOLDER, NOTE, TAUGHT = Path("data/lessons"), "teacher.json", "taught"
"""Of the lessons of all models; what says whose they are; what a teacher said."""

OF_TEACHER = ("kind", "labels", "scores", "dimensions", "learner", "base", "quantization")
"""What asking a teacher takes of the teacher's section."""


def of(model: Model) -> Teacher | None:
    """The teacher of a model as it is declared."""
    return Teacher(model=model.teacher) if isinstance(model.teacher, str) else model.teacher


def section(model: Model) -> dict[str, Any]:
    """What a model's section says of its teacher; nothing of one whose word weighs nothing."""
    teacher = of(model)
    return {"teacher": teacher.model_dump()} if teacher and teacher.weight else {}


def add_students(declared: Project, resolved: dict[str, Any]) -> None:
    """Add the section `students`: of each model with a teacher what its stage `teach` needs, members of seeds included.

    `resolved` has its final form.
    """
    resolved["students"] = {
        name: _student(declared, resolved, spec) for name, spec in resolved["models"].items() if "teacher" in spec
    }


def _student(declared: Project, resolved: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    name = spec["teacher"]["model"]
    teacher, written, task = resolved["models"][name], resolved["predictions"][name], declared.tasks[spec["task"]]
    source = declared.sources[task.source]
    tables = [
        table.model_dump(by_alias=True, exclude_unset=True, exclude_none=True) for table in source.unlabelled or []
    ]
    found = {"task": spec["task"], "teacher": name, **{key: teacher[key] for key in OF_TEACHER if key in teacher}}
    found |= {key: written[key] for key in ("hardware", "generation") if key in written}
    found["augmented"] = spec["augmented"]
    if tables:
        found |= {"unlabelled": tables, "max_rejects": task.max_rejects}
        found |= {"unlabelled_rows": spec["teacher"]["unlabelled_rows"]}
    return found


def items(resolved: dict[str, Any]) -> dict[str, Any]:
    """The section over which DVC's stage `teach` goes."""
    return {name: {key: one[key] for key in ("task", "base", "teacher")} for name, one in resolved["students"].items()}


def write(resolved: dict[str, Any], project: Path = Path()) -> None:
    """Make every model's folder say who its teacher is, and hold no lessons where it has none; no others stay."""
    folder = project / FOLDER
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.is_dir() and not one.name.startswith(".") and one.name not in resolved["models"]:
            shutil.rmtree(one)
    for name, spec in resolved["models"].items():
        teacher = spec.get("teacher", {}).get("model")
        if teacher is None and (old := folder / name / TAUGHT).is_dir():
            shutil.rmtree(old)
        text, file = json.dumps({"teacher": teacher}, ensure_ascii=False) + "\n", folder / name / NOTE
        if not file.is_file() or file.read_bytes() != text.encode():
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
