"""Soft targets by hand, in their limits, and as an outer problem sees them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from automl_kd.data import Batch
from automl_kd.distillers.kd import KD, kd_loss
from automl_kd.models.taps import Outputs


def test_two_classes_by_hand():
    # teacher (3/4, 1/4), student (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2
    teacher, student = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(kd_loss(student, teacher, 1.0), torch.tensor(expected))


def test_temperature_by_hand():
    # At T = 2 logits (2 ln 3, 0) soften to (3/4, 1/4); the loss is T^2 times that of the softened ones.
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    torch.testing.assert_close(kd_loss(student, teacher, 2.0), torch.tensor(expected))


def test_large_temperature_matches_logits():
    # Section 2.1: for T large the gradient tends to (z_i - v_i) / classes, for logits of zero mean.
    torch.manual_seed(0)
    student = torch.randn(4, 5, dtype=torch.float64)
    teacher = torch.randn(4, 5, dtype=torch.float64)
    student -= student.mean(1, keepdim=True)
    teacher -= teacher.mean(1, keepdim=True)
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(kd_loss(student, teacher, 1e4), student)
    torch.testing.assert_close(gradient, (student - teacher).detach() / 5 / 4, rtol=1e-3, atol=1e-5)


def test_equal_networks_have_no_loss_and_a_batch_is_averaged():
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    assert kd_loss(logits, logits, 4.0).abs() < 1e-6
    other = logits.flip(1)
    alone = torch.stack([kd_loss(row[None], goal[None], 4.0) for row, goal in zip(logits, other, strict=True)])
    torch.testing.assert_close(kd_loss(logits, other, 4.0), alone.mean())


def test_gradient_reaches_student_and_temperature_but_never_the_teacher():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    temperature = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: kd_loss(s, teacher.detach(), t), (student, temperature))
    kd_loss(student, teacher, temperature).backward()
    assert teacher.grad is None


def test_weights_divide_the_loss_between_labels_and_teacher():
    torch.manual_seed(0)
    student, teacher = Outputs(torch.randn(4, 3), {}), Outputs(torch.randn(4, 3), {})
    targets = torch.tensor([0, 1, 2, 0])
    batch = Batch(torch.zeros(4, 1, 8, 8), targets, torch.arange(4), epoch=1)
    terms = KD(temperature=3.0, weight=0.25)(student, teacher, batch)
    torch.testing.assert_close(terms["ce"], 0.75 * F.cross_entropy(student.logits, targets))
    torch.testing.assert_close(terms["kd"], 0.25 * kd_loss(student.logits, teacher.logits, 3.0))


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"weight": 1.5}, {"weight": -0.1}, {"label_smoothing": 1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        KD(**options)
