"""What counts as the same network, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from automl_kd.errors import ExportError
from automl_kd.export.parity import (
    Parity,
    as_logits,
    compare_outputs,
    require_parity,
    require_recorded_accuracy,
    require_small_loss,
)

STUDENT = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.4]])
LABELS = torch.tensor([0, 1, 0])


def compared(change: list[list[float]]) -> Parity:
    return compare_outputs(STUDENT, STUDENT + torch.tensor(change), LABELS, batch=3)


def test_equal_outputs():
    found = compared([[0.0, 0.0]] * 3)
    assert (found.accuracy, found.student_accuracy, found.difference, found.changed) == (1.0, 1.0, 0.0, 0)
    assert found.largest_logit == 2.0
    require_parity("x.onnx", found)


def test_an_image_that_the_student_is_unsure_of_may_change_its_class():
    # The top two of the third image are 0.1 apart; those that agree are off by up to 0.011.
    found = compared([[0.011, 0.0], [0.0, 0.0], [-0.01, 0.1]])
    assert (found.changed, found.sure_changed) == (1, 0)
    assert found.accuracy == pytest.approx(2 / 3)  # one image, which is allowed
    assert found.loss_points == pytest.approx(100 / 3)


def test_an_image_that_the_student_is_sure_of_may_not():
    # Ten times the 0.009 of those that agree is less than the 0.1 of the third image.
    found = compared([[0.009, 0.0], [0.0, 0.0], [-0.06, 0.06]])
    assert (found.changed, found.sure_changed) == (1, 1)
    with pytest.raises(ExportError, match=r"names another class for 1 of which the student is sure; nothing was writt"):
        require_parity("x.onnx", found)


def test_two_images_less_of_few_are_refused_and_within_a_thousandth_of_many_allowed():
    same = compared([[0.0, 0.0]] * 3)
    two = replace(same, images=100, accuracy=0.98)
    with pytest.raises(ExportError, match=r"x.onnx, at batch 3 on 100 validation images, is right on 98.00% of them"):
        require_parity("x.onnx", two)
    require_parity("x.onnx", replace(same, images=100, accuracy=0.99))
    require_parity("x.onnx", replace(same, images=5000, accuracy=0.9991))


def test_logits_that_are_off_on_all_images_alike_are_refused():
    with pytest.raises(ExportError, match=r"is off by up to 0.03 where the largest logit is 2;"):
        require_parity("x.onnx", compared([[0.03, 0.03]] * 3))


def test_what_is_no_number_is_refused():
    found = compared([[0.0, 0.0], [float("nan"), 0.0], [0.0, 0.0]])
    for refuse in (lambda: require_parity("x", found), lambda: require_small_loss("x", found, 100.0)):
        with pytest.raises(ExportError):
            refuse()


def test_eight_bits_may_lose_what_is_allowed():
    found = compared([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    require_small_loss("x.int8.onnx", found, 34.0)
    with pytest.raises(ExportError, match=r"a loss of 33.33 points where 2 are allowed; raise --max-int8-loss"):
        require_small_loss("x.int8.onnx", found, 2.0)


def test_probabilities_differ_as_their_logits():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    found = as_logits(logits.softmax(1))
    torch.testing.assert_close(found[:, 0] - found[:, 1], torch.tensor([3.0]))
    assert bool(as_logits(torch.tensor([[1.0, 0.0]])).isfinite().all())


def test_a_student_that_is_not_as_accurate_as_in_its_training_is_refused():
    many = replace(compared([[0.0, 0.0]] * 3), images=1000, student_accuracy=0.635)
    for recorded in (None, 0.635, 0.651, 0.616):  # within two points
        require_recorded_accuracy(many, recorded)
    few = replace(many, images=20)
    require_recorded_accuracy(few, 0.735)  # within two images
    with pytest.raises(ExportError, match=r"right on 63.50% of 20 .* images, and its results say 75.00%; bring"):
        require_recorded_accuracy(few, 0.75)
    with pytest.raises(ExportError, match=r"results say 25.00%"):
        require_recorded_accuracy(many, 0.25)
