"""Losses on relations between images by hand: SP, RKD, CC, PKT, DisWOT's two."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.errors import ConfigError
from automl_kd.losses.relations.cc import CC, cc_loss
from automl_kd.losses.relations.crd import CRD
from automl_kd.losses.relations.diswot import Semantic, semantic_loss, student_classifier_gradient
from automl_kd.losses.relations.pkt import pkt_loss
from automl_kd.losses.relations.rkd import RKD, angles, pairwise_distances, rkd_loss
from automl_kd.losses.relations.sp import sp_loss
from automl_kd.proxies.teacher.diswot import relation_similarity, semantic_similarity
from tests.losses.outputs import batch, example, outputs

CORNER = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
LINE = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)


def close(found: torch.Tensor, expected: float) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype))


@pytest.mark.parametrize("loss", [CC(stages="pre_pool"), CRD(stages="pre_pool"), Semantic(stages="pre_pool")])
def test_those_that_read_whole_maps_refuse_maps_of_several_sizes(loss):
    images = example(outputs(0), outputs(1))
    loss.make(images)
    with pytest.raises(ConfigError, match=r"reads a whole map .*'pre_pool' has maps of texts, .* choose pooled"):
        loss.make(dataclasses.replace(images, sizes_differ=True))
    dataclasses.replace(loss, stages="pooled").make(dataclasses.replace(images, sizes_differ=True))


def points(seed: int, count: int = 5, width: int = 4) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_similarities_by_hand():
    # Student rows (1, 0), (0, 1); teacher twice (1, 1) / sqrt 2, by the L2 norm. Mean over four entries.
    student, teacher = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    close(sp_loss(student, teacher), ((1 - math.sqrt(0.5)) ** 2 + 0.5) / 2)


def test_distances_by_hand():
    # 3, 4 and 5, of mean 4
    expected = torch.tensor([[0, 3, 4], [3, 0, 5], [4, 5, 0]]) / 4
    torch.testing.assert_close(pairwise_distances(CORNER), expected.double(), atol=1e-6, rtol=0)


def test_angles_by_hand():
    cosines = angles(CORNER)
    close(cosines[0, 1, 2], 0.0)  # the right angle
    close(cosines[1, 0, 2], 3 / 5)
    close(cosines[2, 0, 1], 4 / 5)
    assert cosines[0, 0, 1] == 0  # no direction to oneself
    close(angles(LINE)[1, 0, 2], -1.0)


def test_relations_by_hand():
    # Distances (3, 4, 5)/4 against (1, 2, 1)/(4/3) as (01, 02, 12): differences 0, 1/2, 1/2, smooth L1 1/8 each,
    # twice for symmetry, over 9 entries.
    close(rkd_loss(CORNER, LINE, 1.0, 0.0), 4 / 8 / 9)
    # Angles at 0, 1, 2: 0, 3/5, 4/5 against 1, -1, 1; off by 1, 8/5 and 1/5, smooth L1 1/2, 11/10 and 1/50.
    close(rkd_loss(CORNER, LINE, 0.0, 1.0), 2 * (0.5 + 1.1 + 0.02) / 27)


@settings(deadline=None, max_examples=25)
@given(scale=st.floats(0.01, 100), turn=st.floats(0, 6.3), seed=st.integers(0, 1000))
def test_relations_see_neither_scale_nor_rotation_nor_shift(scale, turn, seed):
    student, teacher = points(seed, width=2), points(seed + 1, width=2)
    c, s = math.cos(turn), math.sin(turn)
    turned = scale * student @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64) + 3
    torch.testing.assert_close(
        rkd_loss(turned, teacher, 25.0, 50.0), rkd_loss(student, teacher, 25.0, 50.0), rtol=1e-5, atol=1e-7
    )


def test_equal_embeddings_have_a_moderate_gradient():
    student = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]], requires_grad=True)
    rkd_loss(student, torch.randn(3, 2), 25.0, 50.0).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e3


def test_congruence_by_hand():
    # Gaps (1, 2), (3, 4), (1, 1): (3 + 8 + 3 + 4) / 2
    gaps = torch.tensor([[1.0, -2.0], [-3.0, 4.0], [1.0, 1.0]])
    close(cc_loss(gaps, torch.zeros(3, 2)), 9.0)
    assert cc_loss(gaps[:1], torch.zeros(1, 2)) == 0


def test_neighbours_by_hand():
    # Cosines 1 and 0 become 1 and 1/2, so (2/3, 1/3) against (1/2, 1/2).
    student, teacher = torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    expected = (0.5 * math.log(0.75) + 0.5 * math.log(1.5)) / 2
    torch.testing.assert_close(pkt_loss(student, teacher), torch.tensor(expected), atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=25)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_neighbours_and_similarities_see_no_scale(scale, seed):
    student, teacher = points(seed), points(seed + 1, width=7)
    for loss in (pkt_loss, sp_loss):
        torch.testing.assert_close(loss(scale * student, teacher), loss(student, teacher))
        assert loss(student, teacher) >= 0


def test_relation_loss_is_minus_the_proxys_score():
    student, teacher = points(0), points(1, width=7)
    torch.testing.assert_close(sp_loss(student, teacher), -relation_similarity(student, teacher))


def test_semantic_loss_by_hand():
    # Errors (-1/2, 1/2). Against (1, -1) signs agree in one channel of two: agreement 0, loss 2.
    # Against the opposite vector both signs and cosine are -1, their product 1: the same semantics.
    student, logits, label = torch.tensor([[1.0, 1.0]]), torch.zeros(1, 2), torch.tensor([0])
    for teacher, expected in [([1.0, -1.0], 2.0), ([3.0, 3.0], 0.0), ([-1.0, -1.0], 0.0)]:
        close(semantic_loss(student, logits, torch.tensor([teacher]), logits, label), expected)
    # A dead channel counts half of what a live one does: (1/2 + 1) - 2 (1/2) / sqrt 2
    close(semantic_loss(torch.tensor([[1.0, 0.0]]), logits, student, logits, label), 1.5 - math.sqrt(0.5))


def test_semantic_loss_is_minus_the_proxys_score():
    labels = torch.tensor([0, 1, 2, 0, 1])
    student, teacher, z_s, z_t = points(0), points(1), points(2, width=3), points(3, width=3)
    score = semantic_similarity(
        student_classifier_gradient(student, z_s, labels), student_classifier_gradient(teacher, z_t, labels)
    )
    torch.testing.assert_close(semantic_loss(student, z_s, teacher, z_t, labels), -score)


def test_closed_form_is_the_gradient_of_the_classifier():
    pooled, labels = points(0), torch.tensor([0, 1, 2, 0, 1])
    weight = points(5, count=3, width=4).requires_grad_()
    logits = pooled @ weight.T
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), weight)
    torch.testing.assert_close(student_classifier_gradient(pooled, logits.detach(), labels), gradient)


def test_dead_channels_have_a_moderate_gradient():
    student = torch.tensor([[1.0, 0.0], [2.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 1])
    semantic_loss(student, torch.randn(2, 3), torch.randn(2, 2), torch.randn(2, 3), labels).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e3


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (RKD, {"angle": -1.0}, "distance and angle"),
        (CC, {"width": 0}, "width"),
        (Semantic, {"stages": "pooled+stage1"}, "one pair"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, told):
    with pytest.raises(ValueError, match=told):
        kind(**options)


def test_another_width_is_projected():
    student, teacher = outputs(0, width=2), outputs(1)
    made = Semantic().make(example(student, teacher))
    assert [tuple(parameter.shape) for parameter in made.parameters()] == [(16, 8)]
    assert made(student, teacher, batch())["diswot_semantic"].isfinite()
