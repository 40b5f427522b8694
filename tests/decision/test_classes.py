"""Classes, matrices and disagreements of six images, by hand."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from automl_kd.decision.classes import (
    MATRIX_CLASSES,
    classes_sentence,
    classes_sheet,
    compare_classes,
    draw_matrices,
)
from automl_kd.decision.page import recorded_accuracies
from automl_kd.decision.pictures import (
    agreement_sentence,
    choose_disagreements,
    count_agreement,
    encode_picture,
    list_disagreements,
)
from automl_kd.decision.predictions import TestPredictions, require_recorded
from automl_kd.errors import ResultError
from automl_kd.spec import DataSpec

# image:     0  1  2  3  4  5  6 (without a label)
LABELS = (0, 0, 1, 1, 1, 2, -1)
TEACHER = (0, 0, 1, 1, 0, 0, 2)  # right on 0, 1, 2, 3
STUDENT = (0, 1, 1, 0, 0, 2, 2)  # right on 0, 2, 5
PLAIN = TestPredictions(
    trial="t",
    images="",
    teacher_name="big",
    class_names=("ant", "bee", "cat"),
    labels=LABELS,
    teacher=TEACHER,
    teacher_sure=(0.9,) * 7,
    student=STUDENT,
    student_sure=(0.514,) * 7,
)


def test_accuracy_of_each_class_the_most_lost_first():
    ant, bee, cat = compare_classes(PLAIN)
    assert (bee.name, bee.images) == ("bee", 3)
    assert (bee.teacher, bee.student) == (2 / 3, 1 / 3)
    assert (ant.name, ant.images, ant.teacher, ant.student) == ("ant", 2, 1.0, 0.5)
    assert (cat.name, cat.images, cat.teacher, cat.student) == ("cat", 1, 0.0, 1.0)
    assert (bee.mistaken_for, ant.mistaken_for, cat.mistaken_for) == ("ant (2)", "bee (1)", "")


def test_the_sentence_counts_them():
    assert classes_sentence(compare_classes(PLAIN)) == (
        "Of 3 classes the student is worse than its teacher on 2, better on 1. It loses most on ant: -50.00 points."
    )


def test_without_a_teacher_the_worst_classes_come_first():
    alone = dataclasses.replace(PLAIN, teacher_name="", teacher=(), teacher_sure=())
    found = compare_classes(alone)
    assert [one.name for one in found] == ["bee", "ant", "cat"]
    assert not classes_sentence(found)
    assert classes_sheet(found).rows[0] == ("bee", "3", "–", "33.33", "–", "ant (2)")
    assert [one.title for one in draw_matrices(alone)] == ["student"]


def test_a_matrix_counts_answers_by_true_class():
    student, teacher = draw_matrices(PLAIN)
    assert [[cell.images for cell in line] for line in student.lines] == [[1, 1, 0], [2, 1, 0], [0, 0, 1]]
    assert [[cell.images for cell in line] for line in teacher.lines] == [[2, 0, 0], [1, 2, 0], [1, 0, 0]]
    assert [cell.share for cell in student.lines[1]] == [67, 33, 0]
    assert [[cell.right for cell in line] for line in student.lines] == np.eye(3, dtype=bool).tolist()


def test_of_many_classes_the_worst_are_listed_and_no_matrix_is_drawn():
    count = MATRIX_CLASSES + 1
    names = tuple(f"c{place}" for place in range(count))
    labels = tuple(range(count))
    many = dataclasses.replace(
        PLAIN, class_names=names, labels=labels, teacher=labels, student=(*labels[:-1], 0),
        teacher_sure=(1.0,) * count, student_sure=(1.0,) * count,
    )  # fmt: skip
    found = compare_classes(many)
    assert len(classes_sheet(found).rows) == 10
    assert classes_sheet(found).rows[0] == (f"c{count - 1}", "1", "100.00", "0.00", "-100.00", "c0 (1)")
    assert classes_sentence(found).endswith("The 10 worst are listed.")
    assert f"equals it on {count - 1}" in classes_sentence(found)
    assert draw_matrices(many) == []


def test_who_is_right():
    counts = count_agreement(PLAIN)
    assert counts == (2, 2, 1, 1, 1)  # both 0, 2; teacher 1, 3; student 5; neither 4, both say ant
    assert agreement_sentence(counts, "images") == (
        "Of 6 test images both are right on 2, the teacher alone on 2, the student alone on 1 and neither on 1, of "
        "which they give 1 the same wrong class."
    )


def test_disagreements_are_taken_evenly_of_both_kinds():
    labels = (0,) * 100
    teacher, student = (0,) * 60 + (1,) * 40, (1,) * 60 + (0,) * 40
    sure = (1.0,) * 100
    many = dataclasses.replace(
        PLAIN, labels=labels, teacher=teacher, student=student, teacher_sure=sure, student_sure=sure
    )
    places = choose_disagreements(many)
    assert len(places) == len(set(places)) == 10
    assert sum(place < 60 for place in places) == 5
    assert min(np.diff(sorted(places))) >= 6  # spread over both kinds


def test_where_one_kind_is_rare_the_other_fills_up():
    labels, sure = (0,) * 100, (1.0,) * 100
    rare = dataclasses.replace(
        PLAIN, labels=labels, teacher=(0,) * 98 + (1, 1), student=(1,) * 98 + (0, 0),
        teacher_sure=sure, student_sure=sure,
    )  # fmt: skip
    assert sum(place >= 98 for place in choose_disagreements(rare)) == 2
    assert len(choose_disagreements(rare)) == 10
    assert choose_disagreements(dataclasses.replace(rare, student=rare.teacher)) == []
    assert sorted(choose_disagreements(PLAIN)) == [1, 3, 5]


def test_a_picture_says_who_is_right():
    source = "data:image/png;base64,AA"
    teachers, students = list_disagreements(dataclasses.replace(PLAIN, pictures=((1, source), (5, source))))
    assert (teachers.label, teachers.teacher, teachers.student) == ("ant", "ant", "bee")
    assert (teachers.teacher_sure, teachers.student_sure, teachers.teacher_right) == (90, 51, True)
    assert (students.label, students.teacher, students.student) == ("cat", "ant", "cat")
    assert not students.teacher_right


@pytest.mark.parametrize(("side", "channels", "form"), [(8, 1, "png"), (8, 3, "png"), (300, 3, "jpeg"), (8, 5, "png")])
def test_pictures_are_embedded_and_small(side, channels, form):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)
    source = encode_picture(pixels)
    head, _, text = source.partition(",")
    assert head == f"data:image/{form};base64"
    assert len(text) < 90_000
    picture = Image.open(io.BytesIO(base64.b64decode(text)))
    assert max(picture.size) <= 192
    if form == "png":
        given = pixels if channels == 3 else pixels[:, :, 0]
        np.testing.assert_array_equal(np.asarray(picture), given)


def test_a_row_of_another_metric_is_compared_with_nothing():
    rows = pd.DataFrame([{"trial_kind": "teacher", "status": "complete", "test_accuracy": 0.5}])
    experiment: Any = SimpleNamespace(rows=rows)
    for metric, expected in (("", {"student": 0.75}), ("accuracy", {"student": 0.75}), ("macro_f1", {})):
        spec = SimpleNamespace(data=DataSpec(name="digits", metric=metric))
        trial: Any = SimpleNamespace(spec=spec, row={"test_accuracy": 0.75}, teacher=None)
        assert recorded_accuracies(experiment, trial) == expected


def test_another_order_of_classes_is_noticed():
    sure = (1.0,) * 140
    many = dataclasses.replace(
        PLAIN, labels=LABELS * 20, teacher=TEACHER * 20, student=STUDENT * 20, teacher_sure=sure, student_sure=sure
    )
    require_recorded(many, {"student": 0.5, "teacher": 4 / 6})
    require_recorded(many, {"student": 0.5 + 2 / 120})  # as another processor may round
    turned = dataclasses.replace(many, student=tuple((one + 1) % 3 for one in many.student))  # right on 3 and 4 of 6
    with pytest.raises(
        ResultError, match=r"the student is right on 33.33 % of the test images, and its row says 50.00"
    ):
        require_recorded(turned, {"student": 0.5})


def test_predictions_are_of_classes_that_there_are():
    with pytest.raises(ValueError, match="classes must lie in 0 to 2"):
        dataclasses.replace(PLAIN, student=(3,) * 7)
    with pytest.raises(ValueError, match="as many images as there are labels"):
        dataclasses.replace(PLAIN, student=(0,) * 6)
    with pytest.raises(ValueError, match="a picture is of a test image and embedded"):
        dataclasses.replace(PLAIN, pictures=((0, "https://example.com/x.png"),))


def test_without_labels_nobody_is_right():
    blind = dataclasses.replace(PLAIN, labels=(-1,) * 7)
    assert math.isnan(blind.right_share(blind.student))
    assert compare_classes(blind) == []
    assert draw_matrices(blind) == []


def test_a_text_is_shown_as_itself():
    whole, cut = list_disagreements(
        dataclasses.replace(PLAIN, noun="texts", pictures=((1, "text:is it <b>here</b>?"), (5, "text:" + "w" * 999)))
    )
    assert (whole.source, whole.text) == ("", "is it <b>here</b>?")
    assert len(cut.text) == 400
    assert cut.text.endswith("w…")
    texts = dataclasses.replace(PLAIN, noun="texts")
    assert draw_matrices(texts)[0].lines[0][1].title == "ant answered as bee: 1 texts"
    assert classes_sheet(compare_classes(texts), "texts").columns[1].name == "texts"
    with pytest.raises(ValueError, match="a picture is of a test image and embedded"):
        dataclasses.replace(PLAIN, pictures=((1, "https://elsewhere/picture.png"),))
