"""Losses with layers and memories of their own: CRD, ReviewKD and its distance, SRRL, SemCKD."""

from __future__ import annotations

import math

import pytest
import torch

from automl_kd.errors import ConfigError
from automl_kd.losses.features.hcl import hcl
from automl_kd.losses.features.reviewkd import Fusion, ReviewKD
from automl_kd.losses.features.semckd import SemCKD, semckd_loss
from automl_kd.losses.logits.srrl import SRRL, srrl_losses
from automl_kd.losses.relations.crd import CRD, contrast_scores, crd_loss
from automl_kd.models.features import Outputs
from tests.losses.outputs import IMAGES, batch, example, outputs


def close(found: torch.Tensor, expected: float) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def contrast(**options: float):
    student, teacher = outputs(0), outputs(1)
    torch.manual_seed(0)
    return CRD(width=8, **options).make(example(student, teacher)), student, teacher  # type: ignore[arg-type]


def test_contrast_by_hand():
    # One negative among two images: noise 1/2. Scores 1: ln(1 / 1.5) and ln(0.5 / 1.5).
    one = torch.ones(1)
    close(crd_loss(one, one[:, None], 2), -(math.log(2 / 3) + math.log(1 / 3)))


def test_scores_by_hand():
    memory = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    found = contrast_scores(torch.tensor([[1.0, 0.0]]), memory, torch.tensor([[0, 2, 1]]), 0.5)
    torch.testing.assert_close(found, torch.tensor([[math.exp(2), math.exp(-2), 1.0]]))


def test_negatives_are_of_other_classes_each_as_likely():
    made, *_ = contrast()
    labels = torch.arange(IMAGES) % 3
    rows = torch.cat([made.negatives(torch.tensor([1, 1, 0])) for _ in range(300)])
    drawn = rows.view(300, 3, -1)
    assert (labels[drawn[:, :2]] != 1).all()
    assert (labels[drawn[:, 2]] != 0).all()
    counts = torch.bincount(drawn[:, :2].flatten(), minlength=IMAGES)[labels != 1]
    expected = 300 * 2 * IMAGES / 16
    assert (counts - expected).abs().max() < 6 * expected**0.5


def test_memories_move_halfway_to_what_was_seen_and_stay_of_unit_length():
    made, student, teacher = contrast(momentum=0.5)
    before = made.memory_s.clone()
    made(student, teacher, batch())
    seen = torch.nn.functional.normalize(made.head_s(student.features["pooled"]), dim=1)
    wanted = torch.nn.functional.normalize(before[:6] + seen, dim=1)
    torch.testing.assert_close(made.memory_s[:6], wanted)  # index 1, 3, ..., 11 are rows 0 to 5
    assert torch.equal(made.memory_s[6:], before[6:])
    torch.testing.assert_close(made.memory_t.norm(dim=1), torch.ones(IMAGES))


def test_constants_are_those_of_the_first_batch():
    made, student, teacher = contrast()
    made(student, teacher, batch())
    fixed = made.constants.clone()
    assert (fixed > 0).all()
    made(teacher, student, batch())
    assert torch.equal(made.constants, fixed)


def test_evaluation_leaves_memories_and_constants():
    made, student, teacher = contrast()
    before = {name: value.clone() for name, value in made.named_buffers()}
    made.eval()(student, teacher, batch())
    assert all(torch.equal(before[name], value) for name, value in made.named_buffers())


def test_contrast_falls_as_the_student_learns_to_tell_images_apart():
    made, student, teacher = contrast(negatives=16)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.3)
    losses = []
    for _ in range(60):
        loss = made(student, teacher, batch())["crd"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_contrast_needs_a_second_class():
    student = outputs(0)
    alike = example(student, student)
    alike.labels.zero_()
    with pytest.raises(ConfigError, match="crd contrasts images of several classes"):
        CRD().make(alike)


def test_hierarchy_by_hand():
    # Mean square 12/4 = 3. Of the levels only 1x1 lies below the height 2: 1.5^2 weighs 1/2. Over 1 + 1/2.
    student, teacher = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 1.0], [1.0, 3.0]]]])
    close(hcl(student, teacher), (3 + 0.5 * 2.25) / 1.5)
    # A constant gap of 2 is 4 at every level.
    for height in (1, 2, 4, 5, 8):
        close(hcl(torch.zeros(1, 2, height, height), torch.full((1, 2, height, height), 2.0)), 4.0)


def test_levels_at_height_four_are_two_and_one():
    # (1, -1) by columns: 1 at full size and at 2x2, 0 at 1x1: (1 + 1/2) / (1 + 1/2 + 1/4)
    teacher = torch.tensor([1.0, 1.0, -1.0, -1.0]).expand(1, 1, 4, 4)
    close(hcl(torch.zeros(1, 1, 4, 4), teacher), 1.5 / 1.75)


def test_fusion_gives_the_teachers_shape_and_hands_over_the_inner_width():
    fusion = Fusion(4, 6, 10, deepest=False)
    answer, carried = fusion(torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), (16, 16))
    assert answer.shape == (2, 10, 16, 16)
    assert carried.shape == (2, 6, 16, 16)


def test_the_deepest_fusion_has_no_attention_and_the_others_use_it():
    student, teacher = outputs(0), outputs(1, width=8)
    made = ReviewKD().make(example(student, teacher))
    assert [fusion.attention is None for fusion in made.fusions] == [False, False, False, True]
    assert made.state_dict()["fusions.0.leave.0.weight"].shape[1] == 16  # the width of the student's pooled vector
    deep = student.features["pooled"]
    changed = outputs(0)
    features = {**changed.features, "pooled": deep.flip(0)}
    other = type(student)(changed.logits, features)
    made.eval()
    one, two = made(student, teacher, batch())["reviewkd"], made(other, teacher, batch())["reviewkd"]
    assert one != two


def test_regression_by_hand():
    # Features (1, 2) against 0: 5/2. The classifier (identity, bias 1) says (2, 3) against (2, 1): 4/2.
    student, zero = torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2)
    logits = torch.tensor([[2.0, 1.0]])
    feature, regression = srrl_losses(student, zero, logits, torch.eye(2), torch.ones(2))
    close(feature, 2.5)
    close(regression, 2.0)


def test_the_teachers_classifier_is_frozen_and_saved():
    student, teacher = outputs(0), outputs(1)
    given = example(student, teacher)
    made = SRRL().make(given)
    assert given.classifier is not None
    assert torch.equal(made.state_dict()["weight"], given.classifier.weight)
    torch.stack(list(made(student, teacher, batch()).values())).sum().backward()
    assert given.classifier.weight.grad is None
    assert not any(parameter.shape == made.weight.shape for parameter in made.parameters())


@pytest.mark.parametrize("stages", ["pre_pool", "pooled", "pre_pool:stage1"])
def test_regression_refuses_what_the_classifier_does_not_see(stages):
    student, teacher = outputs(0), outputs(1)
    with pytest.raises(ConfigError, match="the vector that the teacher's last linear layer sees"):
        SRRL(stages=stages).make(example(student, teacher))


def test_calibration_by_hand():
    # One image: stage 1 has 0.25 x 2 + 0.75 x 4, stage 2 has 1 x 1 + 0 x 9
    errors = torch.tensor([[[2.0, 4.0], [1.0, 9.0]]])
    attention = torch.tensor([[[0.25, 0.75], [1.0, 0.0]]])
    close(semckd_loss(errors, attention), (3.5 + 1.0) / 2)


def test_attention_is_a_distribution_over_the_teachers_stages_also_in_a_smaller_batch():
    student, teacher = outputs(0), outputs(1)
    made = SemCKD().make(example(student, teacher))
    few_s, few_t = outputs(0, count=4), outputs(1, count=4)
    for one, two, count in [(student, teacher, 6), (few_s, few_t, 4)]:
        maps = [tuple(given.features[f"stage{i}"] for i in (1, 2, 3)) for given in (one, two)]
        attention = made.attention(*maps)
        assert attention.shape == (count, 3, 3)
        torch.testing.assert_close(attention.sum(dim=2), torch.ones(count, 3))


@pytest.mark.parametrize(("stages", "expected"), [("stage1+stage2+stage3", 28.3), ("stage1", 254.6)])
def test_the_curvature_at_the_standard_weight_is_as_told(stages, expected):
    # 400 x 2 / (pi n^2) for n stages: the largest eigenvalue of the Hessian in a regressor's last layer.
    generator = torch.Generator().manual_seed(0)

    def seen(width: int) -> Outputs:
        maps = {f"stage{i}": torch.randn(32, width, 8, 8, generator=generator, dtype=torch.float64) for i in (1, 2, 3)}
        return Outputs(torch.zeros(32, 3, dtype=torch.float64), maps)

    student, teacher = seen(16), seen(32)
    torch.manual_seed(0)
    made = SemCKD(stages=stages).make(example(student, teacher))
    weight = made.get_submodule("regressors.0.6").get_parameter("weight")
    loss = SemCKD.standard.weight * made(student, teacher, batch(32))["semckd"]
    (slope,) = torch.autograd.grad(loss, weight, create_graph=True)
    direction, curvature = torch.randn(weight.shape, generator=generator, dtype=torch.float64), torch.zeros(())
    for _ in range(20):  # power iteration
        direction = direction / direction.norm()
        (product,) = torch.autograd.grad(slope, weight, direction, retain_graph=True)
        direction, curvature = product, (product * direction).sum()
    assert curvature.item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("nesterov", "limit"), [(True, 27.1), (False, 76.0)])
def test_momentum_is_stable_up_to_the_curvature_that_is_told(nesterov, limit):
    # (2 + 2 m) / rate for plain momentum m, that over 1 + 2 m for Nesterov's, at m = 0.9 and a rate of 0.05
    for share, grows in ((0.97, False), (1.03, True)):
        x = torch.ones((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([x], lr=0.05, momentum=0.9, nesterov=nesterov)
        for _ in range(1000):
            x.grad = share * limit * x.detach()  # of share * limit * x^2 / 2
            optimizer.step()
        assert (x.abs() > 1).item() == grows


def test_a_larger_batch_than_promised_is_refused():
    student = outputs(0)
    made = SemCKD().make(example(student, student))
    large = outputs(0, count=7)
    with pytest.raises(ValueError, match="batches of up to 6 images, got 7"):
        made(large, large, batch(7))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"negatives": 0}, "width and negatives"),
        ({"momentum": 1.0}, "momentum"),
        ({"stages": "pooled+pre_pool"}, "one pair"),
    ],
)
def test_options_out_of_range_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        CRD(**options)
