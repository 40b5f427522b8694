"""What is said of a teacher, by hand: 180 validation images, of which the largest class has a tenth."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from automl_kd.results import ResultTable
from automl_kd.results.comparison import sentences as comparison_sentences
from automl_kd.results.comparison.comparison import comparison
from automl_kd.results.report.page import write_page
from automl_kd.results.store.row import Row
from automl_kd.results.verdict.gain import judge_search
from automl_kd.results.verdict.table import verdict_to_markdown
from automl_kd.results.verdict.teacher import Teacher, is_below_accuracy, near_chance, teacher_of
from tests.results.synthetic import finals, four_arms, row

BASE = {0: 0.90, 1: 0.91, 2: 0.92}


def taught_by(right: int, **changes) -> Row:
    measured = {
        "val_accuracy": right / 180,
        "test_accuracy": right / 180,
        "val_images": 180,
        "val_majority_fraction": 0.1,
    }
    free = {"method": "from-file", "options_json": "{}", "seconds": 0.0, "train_macs": 0.0}
    named = {"trial_kind": "teacher", "role": "teacher", "key": "e" * 16, "proposal": None, "student": "resnet56"}
    return row(**{**named, **free, **measured, **changes})


def teacher(right: int, images: int = 180, largest: float = 0.1) -> Teacher:
    return Teacher(label="it", from_file=True, accuracy=right / images, images=images, largest=largest)


def read(folder, rows: list[Row]):
    table = ResultTable(folder)
    for one in rows:
        table.append(one)
    return table.read()


def test_chance_ends_where_a_binomial_says():
    # of 10 coins 10 heads have the chance 1/1024, less than 1 in 1000, and 9 or more 11/1024
    assert near_chance(teacher(9, images=10, largest=0.5))
    assert not near_chance(teacher(10, images=10, largest=0.5))
    assert near_chance(teacher(0))  # as bad as the order of classes can make it
    assert not near_chance(teacher(180))
    # fewer than half of 10 heads are never rare; of 11 coins that fall on heads with 7 in 8, none is
    assert not is_below_accuracy(teacher(4, images=10), 0.5)
    assert is_below_accuracy(teacher(0, images=11), 0.875)


@pytest.mark.parametrize("unknown", [{"val_images": None}, {"val_majority_fraction": None}, {"status": "failed"}])
def test_nothing_is_said_of_what_was_not_measured(tmp_path, unknown):
    rows = read(tmp_path, [*four_arms(BASE, BASE), taught_by(18, **unknown)])
    assert teacher_of(rows) is None
    judged = judge_search(rows)
    assert judged.teacher_sentence == ""
    assert not judged.sentence.startswith("Warning")


def test_a_good_teacher_is_named_with_its_accuracy_and_costs_no_training(tmp_path):
    judged = judge_search(read(tmp_path, [*four_arms(BASE, BASE), taught_by(171)]))
    assert judged.sentence.startswith("No gain is shown")
    assert judged.teacher_sentence == (
        "The teacher (resnet56, from a file) reaches 95.00 % on validation and 95.00 % on test; it has 10.0 k "
        "parameters and takes 1.00 M multiply-adds in a forward pass."
    )
    assert "no teacher was trained here" in judged.cost_sentence
    assert "teacher" not in {one.stage for one in judged.costs}
    assert f"{judged.teacher_sentence} {judged.cost_sentence}" in verdict_to_markdown(judged)


def test_a_verdict_on_a_teacher_near_chance_begins_with_a_warning(tmp_path):
    rows = read(tmp_path, [*four_arms({0: 0.92, 1: 0.94, 2: 0.96}, BASE), taught_by(19)])
    judged = judge_search(rows)
    warned = (
        "Warning: the teacher (resnet56, from a file) is right on 10.56 % of 180 validation examples, and always "
        "naming the largest class is on 10.00 %: nothing shows that it knows these classes, so no gain can be "
        "owed to what it knows; check its weights, the order of its classes and how its training images were "
        "normalised."
    )
    assert judged.sentence.startswith(f"{warned} Gained 3.00 points ")
    assert judged.teacher_sentence == ""
    assert verdict_to_markdown(judged).startswith(warned)
    page = write_page(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<p>{warned} Gained" in page


def test_a_teacher_below_a_student_from_scratch_is_warned_of(tmp_path):
    judged = judge_search(read(tmp_path, [*four_arms(BASE, BASE), taught_by(108)]))
    scratch = judged.arms["default-scratch"].val.mean
    assert judged.sentence.startswith(
        "Warning: the teacher (resnet56, from a file) is right on 60.00 % of 180 validation examples, fewer than a "
        f"student without a teacher ({100 * scratch:.2f} %); check its weights, "
    )


def test_a_teacher_that_was_trained_here_gets_other_advice(tmp_path):
    trained = taught_by(19, method="scratch", train_macs=1e12)
    assert "; train it longer, or by another teacher.recipe. " in judge_search(read(tmp_path, [trained])).sentence


def test_a_comparison_of_methods_begins_with_the_warning(tmp_path):
    final = finals("default-kd", BASE)
    rows = read(tmp_path, [taught_by(19), *[one_of(one) for one in final]])
    section = {"reference": "kd", "methods": [{"name": "kd", "method": "kd", "options": {}, "grid": {}}]}
    judged = comparison(rows, {"comparison": section, "recipe": {"epochs": 10}})
    assert comparison_sentences.comparison_sentences(judged)[0].startswith(
        "Warning: the teacher (resnet56, from a file) is right on"
    )
    assert not any(one.stage == "teacher" for one in judged.costs)
    assert re.search(r"The teacher \(resnet56\) reaches 10.56 % on test", comparison_sentences.reading(judged)[-1])


def one_of(final: Row) -> Row:
    """A final as one of the contender "kd", at full compute."""
    return dataclasses.replace(final, role="kd", compute_fraction=1.0, options_json=json.dumps({}))


F1 = {"metric": "macro_f1", "val_accuracy": 0.75, "test_accuracy": 0.73}


@pytest.mark.parametrize("largest", [0.9, None])  # rows of earlier versions have it all the same
def test_of_another_metric_nothing_is_concluded_and_the_sentence_names_it(tmp_path, largest):
    arms = four_arms(BASE, BASE, metric="macro_f1")
    rows = read(tmp_path, [*arms, taught_by(135, **F1, val_majority_fraction=largest)])
    judged = judge_search(rows)
    assert judged.sentence.startswith("No gain is shown")
    assert judged.teacher_sentence == (
        "The teacher (resnet56, from a file) reaches 75.00 % on validation and 73.00 % on test by macro F1; it has "
        "10.0 k parameters and takes 1.00 M multiply-adds in a forward pass."
    )
    page = write_page(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Warning: " not in page
    assert judged.teacher_sentence in page
