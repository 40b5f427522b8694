from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.models import build
from automl_kd.proxies.gradients.gradsign import GRADSIGN, SIGN_IMAGES
from automl_kd.proxies.probe import Probe
from automl_kd.space import Architecture, InputShape
from search_spaces import nasbench201
from tests.proxies.examples import linear, vectors

BLANK = ([0.0, 0.0], [0.0, 0.0])


@pytest.mark.parametrize(
    ("rows", "labels", "expected"),
    [
        # Logits 0, so the errors of label 0 are (-1/2, 1/2) and every weight's gradient has a sign: 4 weights.
        (([3, 4],), [0], 4),
        # The second image's first pixel is negative: those two weights' signs cancel, the other two add up to 2.
        (([3, 4], [-1, 2]), [0, 0], 4),
        # Opposite errors for equal images: all cancel.
        (([3, 4], [3, 4]), [0, 1], 0),
        # A pixel of zero has no sign.
        (([3, 0], [1, 0]), [1, 1], 4),
    ],
)
def test_one_layer_by_hand(rows, labels, expected):
    network = nn.Sequential(nn.Flatten(), linear(*BLANK))
    assert GRADSIGN(network, vectors(*rows, labels=labels)) == expected


def test_only_the_first_images_are_looked_at():
    network = nn.Sequential(nn.Flatten(), linear(*BLANK))
    probe = vectors(*[[3.0, 4.0]] * (SIGN_IMAGES + 3), labels=[0] * (SIGN_IMAGES + 3))
    assert GRADSIGN(network, probe) == 4 * SIGN_IMAGES


def test_a_network_of_cells_agrees_with_one_image_after_the_other():
    shape = InputShape(1, 8, 8, 10)
    space = nasbench201.space(4, 1)
    student = build(space, Architecture.of(space.default), shape, seed=0).double().train()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 1, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.arange(5)
    weights = [one.weight for one in student.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    sums = [torch.zeros_like(weight) for weight in weights]
    for image, label in zip(images, labels, strict=True):
        loss = F.cross_entropy(student(image[None]), label[None])
        for total, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
            total += gradient.sign()
    expected = sum(float(total.abs().sum()) for total in sums)
    assert GRADSIGN(student, Probe(images, labels, shape)) == expected


def test_weights_that_play_no_part_count_zero():
    network = nn.Sequential(nn.Flatten(), linear(*BLANK))
    network[0].register_module("idle", linear([1, 1]))
    assert GRADSIGN(network, vectors([3, 4], labels=[0])) == 4
