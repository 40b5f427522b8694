"""The teacher's loss: its gradient, its minimiser, two classes by hand, and the multiplier's ascent."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.methods.prokt.method import ascended, dual_loss, fixed_loss
from automl_kd.tasks.soft_targets import kd_loss

LABELS = torch.tensor([0, 2, 1, 1])
ONE_HOT = F.one_hot(LABELS).double()


def logits(seed: int) -> torch.Tensor:
    return 2 * torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(weight: float, temperature: float, label_smoothing: float = 0.0) -> torch.Tensor:
    teacher = logits(1).requires_grad_()
    ce = F.cross_entropy(teacher, LABELS, label_smoothing=label_smoothing)
    loss = fixed_loss(ce, kd_loss(teacher, logits(2), temperature), weight)
    (found,) = torch.autograd.grad(loss, teacher)
    return found


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.4, 1.0])
def test_the_gradient_is_the_distance_to_the_local_target(weight):
    # q* = (1 - lambda) label + lambda softmax(student); the mean over a batch of four divides by 4
    target = (1 - weight) * ONE_HOT + weight * logits(2).softmax(1)
    torch.testing.assert_close(gradient(weight, 1.0), (logits(1).softmax(1) - target) / 4, rtol=0, atol=1e-15)


def test_the_gradient_with_smoothed_labels_and_a_temperature():
    label = 0.8 * ONE_HOT + 0.2 / 3
    # T^2 KL(s/T || t/T) has the gradient T (softmax(t/T) - softmax(s/T))
    pull = 4.0 * ((logits(1) / 4).softmax(1) - (logits(2) / 4).softmax(1))
    expected = (0.7 * (logits(1).softmax(1) - label) + 0.3 * pull) / 4
    torch.testing.assert_close(gradient(0.3, 4.0, 0.2), expected, rtol=0, atol=1e-15)


def test_two_classes_by_hand():
    # teacher (3/4, 1/4), student (1/2, 1/2), label 0: CE = ln 4/3, and
    # KL(student || teacher) = 1/2 ln 2/3 + 1/2 ln 2 = 1/2 ln 4/3; the other direction would give 3/4 ln 3/2 - 1/4 ln 2
    teacher, student, unit = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2), torch.tensor(4 / 3).log()
    ce, kl = F.cross_entropy(teacher, torch.tensor([0])), kd_loss(teacher, student, 1.0)
    torch.testing.assert_close(fixed_loss(ce, kl, 0.5), 0.75 * unit)
    # beta 2, epsilon 1: CE + 2 (KL - 1)
    torch.testing.assert_close(dual_loss(ce, kl, torch.tensor(2.0), 1.0), 2 * unit - 2)


@pytest.mark.parametrize("weight", [0.1, 0.6, 1.0])
def test_a_free_teacher_descends_to_the_local_target(weight):
    teacher = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    for _ in range(3000):
        loss = fixed_loss(F.cross_entropy(teacher, LABELS), kd_loss(teacher, logits(2), 1.0), weight)
        (slope,) = torch.autograd.grad(loss, teacher)
        with torch.no_grad():
            teacher -= 8 * slope
    target = (1 - weight) * ONE_HOT + weight * logits(2).softmax(1)
    torch.testing.assert_close(teacher.softmax(1), target, rtol=0, atol=1e-5)


def test_the_student_is_no_variable_of_the_teachers_loss():
    student = logits(2).requires_grad_()
    teacher = logits(1).requires_grad_()
    kd_loss(teacher, student, 1.0).backward()
    assert student.grad is None
    assert teacher.grad is not None


def test_the_multiplier_by_hand():
    # 1 + 0.5 (3 - 1) = 2; 1 + 0.5 (0.2 - 1) = 0.6; 0.1 + 0.5 (0.2 - 1) < 0
    for beta, kl, after in ((1.0, 3.0, 2.0), (1.0, 0.2, 0.6), (0.1, 0.2, 0.0)):
        torch.testing.assert_close(ascended(torch.tensor(beta), torch.tensor(kl), 1.0, 0.5), torch.tensor(after))


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0.01, 5), st.floats(1e-4, 1))
def test_the_multiplier_moves_towards_the_constraint_and_stays_a_multiplier(beta, kl, epsilon, rate):
    now, gap = torch.tensor(beta), torch.tensor(kl)
    after = ascended(now, gap, epsilon, rate)
    assert after >= 0
    assert after >= now if kl > epsilon else after <= now or after == 0
