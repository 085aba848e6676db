"""What a teacher brought: the student against its twin in words, or how to declare one."""

from __future__ import annotations

import dataclasses

import pytest

from retune.params import Params
from retune.report import comparison_words, markdown, page
from tests.support.html_page import Page
from tests.support.report_inputs import build, read

pytestmark = pytest.mark.slow

STUDENT, TWIN = "similarity_llm", "similarity_embedder"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task with a student; its twin differs in the learner, too."""
    (found,) = read(build(tmp_path_factory.mktemp("report"), ("similarity_linear", TWIN, STUDENT)))
    teacher = Params(model="similarity_linear", weight=0.5, temperature=1.0)
    return with_spec(found, STUDENT, lambda spec: spec | {"teacher": teacher})


def with_spec(task, name, change):
    models = [dataclasses.replace(m, spec=Params(change(m.spec))) if m.name == name else m for m in task.models]
    return dataclasses.replace(task, models=models)


def test_a_student_without_a_twin_is_told_how_to_have_it_shown(task):
    (said,) = comparison_words.teacher_sentences(task)
    assert said.startswith("Teacher: similarity_llm, taught by similarity_linear: what that brought is not shown")
    assert "the entry similarity_llm again under another name, without `teacher`" in said


def test_a_student_is_compared_with_its_twin(task):
    student = next(m.spec for m in task.models if m.name == STUDENT)
    twins = with_spec(task, TWIN, lambda _: {key: value for key, value in student.items() if key != "teacher"})
    (said,) = comparison_words.teacher_sentences(twins)
    pair = comparison_words.pairs(twins)[STUDENT, TWIN]
    assert f"against {TWIN}, the same without a teacher: F1 " in said
    assert said.count("p\u00a0") == len(task.kind.LEADING)
    assert pair.differences["f1"].verdict(task.alpha) in said
    assert said in Page(page.render([twins])).text
    assert "the same without a teacher" in markdown.render([twins])
    other = with_spec(twins, TWIN, lambda spec: spec | {"seed": 99})
    assert "is not shown" in comparison_words.teacher_sentences(other)[0]


def test_a_task_without_students_says_nothing(task):
    alone = with_spec(task, STUDENT, lambda spec: {key: value for key, value in spec.items() if key != "teacher"})
    assert comparison_words.teacher_sentences(alone) == []
