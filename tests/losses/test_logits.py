"""Losses on logits by hand: DKD, DIST, MLKD, OFA, cross entropy."""

from __future__ import annotations

import math

import pytest
import torch

from automl_kd.losses.cross_entropy import CrossEntropy
from automl_kd.losses.logits.dist import DIST, dist_loss, row_correlation
from automl_kd.losses.logits.dkd import DKD, decouple, dkd_loss
from automl_kd.losses.logits.logit_standardisation import standardise
from automl_kd.losses.logits.mlkd import MLKD, batch_correlation_loss, class_correlation_loss
from automl_kd.losses.logits.ofa import OFA, exit_classifier, ofa_loss
from automl_kd.tasks.soft_targets import kd_loss
from tests.losses.outputs import batch, example, outputs


def test_decoupled_terms_by_hand():
    # teacher (1/2, 3/8, 1/8), student uniform, label 0
    # target: (1/2, 1/2) against (1/3, 2/3); rest: (3/4, 1/4) against (1/2, 1/2)
    teacher, student = torch.tensor([[0.5, 0.375, 0.125]]).log(), torch.zeros(1, 3)
    label = torch.tensor([0])
    target = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)
    rest = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(dkd_loss(student, teacher, label, 1.0, 0.0, 1.0), torch.tensor(target))
    torch.testing.assert_close(dkd_loss(student, teacher, label, 0.0, 1.0, 1.0), torch.tensor(rest))
    torch.testing.assert_close(
        dkd_loss(2 * student, 2 * teacher, label, 1.0, 8.0, 2.0), torch.tensor(4 * (target + 8 * rest))
    )


def test_decoupling_adds_up_to_soft_targets():
    # KD = TCKD + (1 - teacher's target probability) NCKD, for one image
    student, teacher = outputs(0, count=1, dtype=torch.float64), outputs(1, count=1, dtype=torch.float64)
    label = torch.tensor([2])
    beta = 1 - (teacher.logits / 4).softmax(1)[0, 2]
    together = dkd_loss(student.logits, teacher.logits, label, 1.0, beta, 4.0)
    torch.testing.assert_close(together, kd_loss(student.logits, teacher.logits, 4.0))


def test_the_other_classes_are_those_but_the_label():
    logits = torch.tensor([[1.0, 2.0, 4.0]]).log().expand(3, 3)
    binary, rest = decouple(logits, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(binary.exp()[:, 0], torch.tensor([1 / 7, 2 / 7, 4 / 7]))
    torch.testing.assert_close(rest.exp()[:, 0], torch.tensor([1 / 3, 1 / 5, 1 / 3]))


@pytest.mark.parametrize("size", [1e3, 1e4, 1e30])
@pytest.mark.parametrize("label", [0, 1])
def test_decoupled_loss_is_finite_on_extreme_logits(size, label):
    student = torch.tensor([[size, -size, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-size, size, 0.0]])
    loss = dkd_loss(student, teacher, torch.tensor([label]), 1.0, 8.0, 1.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_two_classes_leave_nothing_to_the_rest():
    student, teacher, label = torch.randn(4, 2), torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    assert dkd_loss(student, teacher, label, 0.0, 1.0, 4.0) == 0


def test_standardisation_is_an_option_of_dkd_and_mlkd():
    student, teacher, one = outputs(0), outputs(1), batch()
    z_s, z_t = standardise(student.logits), standardise(teacher.logits)
    found = DKD(standardise=True, beta=2.0)(student, teacher, one)["dkd"]
    torch.testing.assert_close(found, dkd_loss(z_s, z_t, one.labels, 1.0, 2.0, 4.0))
    found = MLKD(standardise=True, temperatures="3", classes=0.0, images=0.0)(student, teacher, one)["mlkd"]
    torch.testing.assert_close(found, kd_loss(z_s, z_t, 3.0))


def test_correlations_by_hand():
    # One image, (0.6, 0.3, 0.1) against (0.6, 0.1, 0.3): 13/19. A class seen once correlates with nothing.
    student, teacher = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[0.6, 0.1, 0.3]]).log()
    expected = 2 * (1 - 13 / 19) + 3 * 1
    torch.testing.assert_close(dist_loss(student, teacher, 2.0, 3.0, 1.0), torch.tensor(expected))
    # Two images of two classes, exchanged: every correlation is -1, each term 2.
    student = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()
    torch.testing.assert_close(dist_loss(student, student.flip(0), 1.0, 2.0, 1.0), torch.tensor(6.0))
    torch.testing.assert_close(dist_loss(3 * student, 3 * student.flip(0), 1.0, 2.0, 3.0), torch.tensor(54.0))


def test_correlation_sees_neither_scale_nor_shift():
    one, two = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        row_correlation(one, two), row_correlation(3 * one + 1, 0.5 * two - 2), rtol=1e-4, atol=1e-6
    )
    assert row_correlation(torch.ones(1, 4), torch.randn(1, 4)) == 0


def test_correlation_matrices_by_hand():
    # Q'Q = (9, 3, 3, 1)/16 against (4, 4, 4, 4)/16: squares 36/256, over 2 classes. QQ' = 10/16 against 8/16.
    teacher, student = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2)
    torch.testing.assert_close(class_correlation_loss(student, teacher, 1.0), torch.tensor(18 / 256))
    torch.testing.assert_close(batch_correlation_loss(student, teacher, 1.0), torch.tensor(1 / 64))


@pytest.mark.parametrize(("classes", "expected"), [(2, 50.0), (10, 3.6), (20, 0.95)])
def test_few_classes_make_their_correlation_large(classes, expected):
    # 20 images, evenly of all classes: Q'Q = (20 / C) I and P'P = 20 / C^2 everywhere, so the squares sum to
    # C (20 / C)^2 ((1 - 1/C)^2 + (C - 1) / C^2) = C (20 / C)^2 (1 - 1/C), over C classes.
    sure, even = 1000 * torch.eye(classes)[torch.arange(20) % classes], torch.zeros(20, classes)
    torch.testing.assert_close(class_correlation_loss(even, sure, 4.0), torch.tensor(expected))


def test_levels_are_summed():
    student, teacher = outputs(0), outputs(1)
    both = MLKD(temperatures="2+4", instance=1.0, classes=0.5, images=3.0)(student, teacher, batch())["mlkd"]
    z_s, z_t = student.logits, teacher.logits
    expected = sum(
        kd_loss(z_s, z_t, t) + 0.5 * class_correlation_loss(z_s, z_t, t) + 3 * batch_correlation_loss(z_s, z_t, t)
        for t in (2.0, 4.0)
    )
    torch.testing.assert_close(both, expected)


def test_one_for_all_by_hand():
    # teacher (3/4, 1/4), student (1/2, 1/2), label 0. Exponent 1: cross entropy, ln 2.
    # Exponent 2: (7/4)^2 - 1 = 33/16 and (1/4)^2 = 1/16, together 34/16 ln 2.
    teacher, student, label = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2), torch.tensor([0])
    torch.testing.assert_close(ofa_loss(student, teacher, label, 1.0, 1.0), torch.tensor(math.log(2)))
    torch.testing.assert_close(ofa_loss(student, teacher, label, 2.0, 1.0), torch.tensor(34 / 16 * math.log(2)))
    torch.testing.assert_close(ofa_loss(2 * student, 2 * teacher, label, 1.0, 2.0), torch.tensor(math.log(2)))


def test_each_stage_and_the_student_itself_answer():
    student, teacher = outputs(0), outputs(1)
    torch.manual_seed(0)
    made = OFA(stages="stage2+stage3").make(example(student, teacher)).eval()
    one = batch()
    answers = [student.logits, made.heads[0](student.features["stage2"]), made.heads[1](student.features["stage3"])]
    expected = sum(ofa_loss(answer, teacher.logits, one.labels, 1.0, 1.0) for answer in answers)
    torch.testing.assert_close(made(student, teacher, one)["ofa"], expected)


def test_heads_halve_and_widen():
    layers = exit_classifier(channels=4, classes=3, halvings=2)
    shapes = []
    x = torch.randn(2, 4, 8, 8)
    for layer in layers:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes[3] == (8, 4, 4)
    assert shapes[7] == (16, 2, 2)
    assert shapes[-1] == (3,)


def test_cross_entropy_smooths_as_asked():
    student, one = outputs(0), batch()
    expected = torch.nn.functional.cross_entropy(student.logits, one.labels, label_smoothing=0.2)
    torch.testing.assert_close(CrossEntropy(0.2)(student, student, one)["ce"], expected)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (DKD, {"beta": -1.0}, "alpha and beta"),
        (DKD, {"temperature": 0.0}, "temperature"),
        (DIST, {"gamma": -1.0}, "beta and gamma"),
        (DIST, {"temperature": -1.0}, "temperature"),
        (MLKD, {"temperatures": "2+x"}, "temperatures must be numbers"),
        (MLKD, {"temperatures": "2+0"}, "temperatures must be above 0"),
        (MLKD, {"images": -1.0}, "instance, classes and images"),
        (OFA, {"exponent": 0.5}, "exponent"),
        (OFA, {"temperature": 0.0}, "temperature"),
        (CrossEntropy, {"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, told):
    with pytest.raises(ValueError, match=told):
        kind(**options)
