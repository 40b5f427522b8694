"""Soft targets by hand, in their limits, and as an outer problem sees them; standardised logits likewise."""

from __future__ import annotations

import math

import pytest
import torch

from automl_kd.losses.logits.kd import KD
from automl_kd.losses.logits.logit_standardisation import StandardisedKD, standardise
from automl_kd.tasks.soft_targets import kd_loss
from tests.losses.outputs import batch, outputs


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


def test_options_are_used():
    student, teacher = outputs(0), outputs(1)
    found = KD(temperature=3.0)(student, teacher, batch())["kd"]
    torch.testing.assert_close(found, kd_loss(student.logits, teacher.logits, 3.0))
    found = StandardisedKD(temperature=3.0)(student, teacher, batch())["lskd"]
    torch.testing.assert_close(found, kd_loss(standardise(student.logits), standardise(teacher.logits), 3.0))


def test_standardised_logits_by_hand():
    # (1, 3): mean 2, deviation with n - 1 is sqrt 2
    torch.testing.assert_close(
        standardise(torch.tensor([[1.0, 3.0]])), torch.tensor([[-(0.5**0.5), 0.5**0.5]]), atol=1e-6, rtol=0
    )


def test_standardised_distillation_sees_neither_scale_nor_shift():
    student, teacher = outputs(0, dtype=torch.float64), outputs(1, dtype=torch.float64)
    loss = kd_loss(standardise(student.logits), standardise(teacher.logits), 2.0)
    moved = kd_loss(standardise(3 * student.logits + 7), standardise(0.5 * teacher.logits - 1), 2.0)
    torch.testing.assert_close(loss, moved, rtol=1e-5, atol=0)


def test_equal_logits_have_a_finite_gradient():
    logits = torch.ones(1, 4, requires_grad=True)
    (standardise(logits) * torch.arange(4)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("kind", [KD, StandardisedKD])
def test_a_temperature_of_zero_is_refused(kind):
    with pytest.raises(ValueError, match=r"temperature must be above 0, got 0\.0"):
        kind(temperature=0.0)
